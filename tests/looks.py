"""What a page looks like to people, measured in a browser."""

from __future__ import annotations

# WCAG's contrast of each piece of text that is shown with the ground below it: [[contrast, text], …]
TEXT_CONTRASTS = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(v => v / 255).map(
      v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return light(colour);
    }
  };
  const words = "h1, h2, h3, h4, p, td, th, dt, dd, li, a, small, label, button, summary, caption, figcaption";
  const all = document.querySelectorAll(`${words}, .for, .against, svg text`);
  return [...all].filter(e => e.textContent.trim() && e.checkVisibility()).map(e => {
    const style = getComputedStyle(e);
    const own = light(e.closest("svg") ? style.fill : style.color), under = ground(e);
    return [(Math.max(own, under) + 0.05) / (Math.min(own, under) + 0.05), e.textContent.trim().slice(0, 40)];
  });
}"""

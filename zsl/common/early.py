"""The first import of every script: from here on, Ctrl-C and SIGTERM end the process with one line.

The imports after it take seconds, and write nothing.  `zsl.cli.run_script` then lets the signals raise an exception.
"""

from zsl.common.interrupts import end_at_once

end_at_once()

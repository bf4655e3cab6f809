//! What is known of the terminal, and how a picture on it is redrawn.

use std::io::{self, IsTerminal as _, Write};

use terminal_size::{Height, Width};

const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const CLEAR_ALL: &str = "\x1b[2J";
const HOME: &str = "\x1b[H";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// The size of a terminal that does not tell it.
const USUAL: Size = Size { columns: 80, lines: 24 };

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// How wide.
    pub(crate) columns: usize,
    /// How high.
    pub(crate) lines: usize,
}

/// The size of the terminal that standard output is; `None` if it is none.
pub(crate) fn size() -> Option<Size> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let told = terminal_size::terminal_size();
    Some(told.map_or(USUAL, |(Width(columns), Height(lines))| Size {
        columns: columns.into(),
        lines: lines.into(),
    }))
}

/// A picture that is drawn over itself, on the terminal's ordinary screen, so that the last one stays.
pub(crate) struct Picture {
    begun: bool,
}

impl Picture {
    /// Nothing is drawn yet.
    pub(crate) fn new() -> Self {
        Self { begun: false }
    }

    /// Draws these lines in place of the last ones; what is past the terminal's height is left out.
    pub(crate) fn draw(&mut self, lines: &[String], size: Size) -> io::Result<()> {
        let mut frame = String::new();
        if !self.begun {
            self.begun = true;
            frame.push_str(HIDE_CURSOR);
            frame.push_str(CLEAR_ALL);
        }
        frame.push_str(HOME);
        for line in lines.iter().take(size.lines.saturating_sub(1)) {
            frame.push_str(line);
            frame.push_str(CLEAR_LINE);
            frame.push_str("\r\n");
        }
        frame.push_str(CLEAR_BELOW);
        // One write a frame: a half-drawn picture flickers.
        let mut out = io::stdout().lock();
        out.write_all(frame.as_bytes())?;
        out.flush()
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        if self.begun {
            // A terminal that is gone needs no cursor.
            let _ = write!(io::stdout(), "{SHOW_CURSOR}");
        }
    }
}

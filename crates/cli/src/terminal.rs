//! What is known of the terminal, and how a picture on it is redrawn.

use std::io;

use console::{Alignment, Term, pad_str, truncate_str};

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
    let terminal = Term::stdout();
    if !terminal.is_term() {
        return None;
    }
    let size =
        terminal.size_checked().map(|(lines, columns)| Size { columns: columns.into(), lines: lines.into() });
    Some(size.unwrap_or(USUAL))
}

/// `text`, cut to `width` columns of a terminal, `…` included.
pub(crate) fn cut(text: &str, width: usize) -> String {
    truncate_str(text, width, if width > 0 { "…" } else { "" }).into_owned()
}

/// `text`, cut or filled up with spaces to exactly `width` columns.
pub(crate) fn fit(text: &str, width: usize) -> String {
    pad_str(&cut(text, width), width, Alignment::Left, None).into_owned()
}

/// A picture that is drawn over itself, on the terminal's ordinary screen, so that the last one stays.
pub(crate) struct Picture {
    /// It is buffered: a half-drawn picture flickers.
    terminal: Term,
    started: bool,
}

impl Picture {
    /// Nothing is drawn yet.
    pub(crate) fn new() -> Self {
        Self { terminal: Term::buffered_stdout(), started: false }
    }

    /// Draws these lines in place of the last ones; what is past the terminal's height is left out.
    pub(crate) fn draw(&mut self, lines: &[String], size: Size) -> io::Result<()> {
        if !self.started {
            self.started = true;
            self.terminal.hide_cursor()?;
            self.terminal.clear_screen()?;
        }
        self.terminal.move_cursor_to(0, 0)?;
        for line in lines.iter().take(size.lines.saturating_sub(1)) {
            self.terminal.clear_line()?;
            self.terminal.write_line(line)?;
        }
        self.terminal.clear_to_end_of_screen()?;
        self.terminal.flush()
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        if self.started {
            // A terminal that is gone needs no cursor.
            let _ = self.terminal.show_cursor().and_then(|()| self.terminal.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_says_so() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("研究所", 4), "研…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("abcd", 0), "");
        assert_eq!(fit("研究所", 4), "研… ");
    }
}

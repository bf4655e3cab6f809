//! The size of the terminal, and output that is redrawn in place.

use std::io;

use console::{Alignment, Term, pad_str, truncate_str};

/// The assumed size of a terminal that does not report it.
const DEFAULT_SIZE: Size = Size { columns: 80, lines: 24 };

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// The width.
    pub(crate) columns: usize,
    /// The height.
    pub(crate) lines: usize,
}

/// The size of the terminal on standard output; `None` if standard output is not a terminal.
pub(crate) fn size() -> Option<Size> {
    let terminal = Term::stdout();
    if !terminal.is_term() {
        return None;
    }
    let size =
        terminal.size_checked().map(|(lines, columns)| Size { columns: columns.into(), lines: lines.into() });
    Some(size.unwrap_or(DEFAULT_SIZE))
}

/// `text`, cut to `width` columns of a terminal, including the `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    truncate_str(text, width, if width > 0 { "…" } else { "" }).into_owned()
}

/// `text`, cut to or padded with spaces to exactly `width` columns.
pub(crate) fn fit(text: &str, width: usize) -> String {
    pad_str(&cut(text, width), width, Alignment::Left, None).into_owned()
}

/// Output that is redrawn in place. It uses the terminal's normal screen, so that the last state
/// stays visible.
pub(crate) struct LiveScreen {
    /// The output is buffered, because half-drawn output would flicker.
    terminal: Term,
    started: bool,
}

impl LiveScreen {
    /// An empty screen.
    pub(crate) fn new() -> Self {
        Self { terminal: Term::buffered_stdout(), started: false }
    }

    /// Draws these lines in place of the previous ones. Lines that do not fit above the last line
    /// of the terminal, which stays empty, are omitted.
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

impl Drop for LiveScreen {
    fn drop(&mut self) {
        if self.started {
            // If the terminal is gone, its cursor does not matter.
            let _ = self.terminal.show_cursor().and_then(|()| self.terminal.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_ends_with_an_ellipsis() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("研究所", 4), "研…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("abcd", 0), "");
        assert_eq!(fit("研究所", 4), "研… ");
    }
}

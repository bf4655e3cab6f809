//! Aligned columns of text.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What stands between two columns.
const GAP: usize = 2;
/// The widest a column is drawn where there is a last column to leave room for, so that one long cell can't push
/// everything else off the terminal.
const WIDEST: usize = 40;

/// Lines of aligned columns, without line ends. With a `width` each line fits it, the wide cells cut short by `…`;
/// without one nothing is cut. Cells must already be safe to show.
pub(crate) fn lines(head: &[&str], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).filter(|head| !head.is_empty()).chain(rows).collect();
    let widths = column_widths(&all, width);
    all.iter().map(|row| line(row, &widths, width)).collect()
}

/// `text`, cut to `width` columns of a terminal, `…` included.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(character);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// `text`, cut or filled up with spaces to exactly `width` columns.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let mut fitted = cut(text, width);
    fitted.extend(std::iter::repeat_n(' ', width.saturating_sub(fitted.width())));
    fitted
}

fn column_widths(rows: &[&Vec<String>], width: Option<usize>) -> Vec<usize> {
    let columns = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let widest = if width.is_some() { WIDEST } else { usize::MAX };
    (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0)
        })
        .map(|natural| natural.min(widest))
        .collect()
}

fn line(row: &[String], widths: &[usize], width: Option<usize>) -> String {
    let mut line = String::new();
    for (column, (cell, fitting)) in row.iter().zip(widths).enumerate() {
        if column > 0 {
            line.push_str(&" ".repeat(GAP));
        }
        // The last column takes all that is left of the line.
        if column + 1 == row.len() { line.push_str(cell) } else { line.push_str(&fit(cell, *fitting)) }
    }
    let line = width.map_or_else(|| line.clone(), |width| cut(&line, width));
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen_not_by_bytes() {
        let rows = [row(&["研究", "1"]), row(&["🐹é", "22"]), row(&["plain", ""])];
        assert_eq!(lines(&["NAME", "N"], &rows, None), ["NAME   N", "研究   1", "🐹é    22", "plain"]);
    }

    #[test]
    fn a_line_never_exceeds_the_terminal() {
        let rows = [row(&[&"x".repeat(100), "short", &"研".repeat(60)])];
        for width in [0, 1, 2, 10, 45, 80] {
            for line in lines(&["A", "B", "C"], &rows, Some(width)) {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
        assert_eq!(lines(&["A", "B", "C"], &rows, None)[1].width(), 100 + 2 + 5 + 2 + 120);
    }

    #[test]
    fn a_cut_cell_says_so() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("研究所", 4), "研…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(fit("研究所", 4), "研… ");
    }

    #[test]
    fn without_a_head_there_are_only_rows() {
        assert_eq!(lines(&[], &[row(&["a", "b"])], None), ["a  b"]);
    }
}

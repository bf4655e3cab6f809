//! Aligned columns of text.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Row, Table};

use crate::terminal::cut;

/// The number of spaces between two columns.
const GAP: u16 = 2;

/// Lines of aligned columns, without line ends. With a `width`, each line fits it, and wide cells
/// are cut with `…`; without one, nothing is cut. Cells must already be safe to show.
pub(crate) fn lines(headings: &[&str], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_truncation_indicator("…");
    if !headings.is_empty() {
        table.set_header(one_line(headings.iter().copied().into()));
    }
    table.add_rows(rows.iter().map(|row| one_line(row.iter().into())));
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    if let Some(width) = width {
        // The gap after the last column may be beyond the edge.
        let width = u16::try_from(width).unwrap_or(u16::MAX).saturating_add(GAP);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    // The last column may still be too wide if the terminal is narrower than the other columns, so
    // each line is cut.
    let fit = |line: String| width.map_or_else(|| line.clone(), |width| cut(&line, width));
    table.lines().map(|line| fit(line.trim_end().to_owned())).collect()
}

fn one_line(mut row: Row) -> Row {
    row.max_height(1);
    row
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;

    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_aligned_by_display_width() {
        let rows = [row(&["研究", "1"]), row(&["🐹é", "22"]), row(&["plain", ""])];
        assert_eq!(lines(&["NAME", "N"], &rows, None), ["NAME   N", "研究   1", "🐹é    22", "plain"]);
    }

    #[test]
    fn a_line_is_never_wider_than_the_terminal() {
        let rows = [row(&[&"x".repeat(100), "short", &"研".repeat(60)])];
        for width in [0, 1, 2, 10, 45, 80] {
            let shown = lines(&["A", "B", "C"], &rows, Some(width));
            assert_eq!(shown.len(), 2);
            for line in shown {
                assert!(measure_text_width(&line) <= width, "{width}: {line}");
            }
        }
        assert_eq!(measure_text_width(&lines(&["A", "B", "C"], &rows, None)[1]), 100 + 2 + 5 + 2 + 120);
    }

    #[test]
    fn a_long_cell_is_cut_and_marked_so_that_the_others_fit() {
        let rows = [row(&[&"x".repeat(100), "short", "also short"])];
        let shown = lines(&["A", "B", "C"], &rows, Some(60));
        assert!(shown[1].contains('…') && shown[1].ends_with("short  also short"), "{shown:?}");
    }

    #[test]
    fn a_table_without_headings_has_only_rows() {
        assert_eq!(lines(&[], &[row(&["a", "b"])], None), ["a  b"]);
    }
}

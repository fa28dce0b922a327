//! Formats tables as aligned columns of text.

use unicode_width::UnicodeWidthStr;

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// A column's heading and alignment.
pub(crate) type Column = (&'static str, Align);

/// Formats rows under headings, with two spaces between columns. Cells must not have control characters.
pub(crate) fn table(columns: &[Column], rows: &[impl AsRef<[String]>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.as_ref().get(at)).map(|cell| cell.width());
        cells.chain([columns[at].0.width()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let mut line = String::new();
        for (at, (cell, (_, align))) in cells.iter().zip(columns).enumerate() {
            let pad = " ".repeat(widths[at].saturating_sub(cell.width()));
            let gap = if at == 0 { "" } else { "  " };
            line += gap;
            match align {
                Align::Left => line += &((*cell).to_owned() + &pad),
                Align::Right => line += &(pad + cell),
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let headings = columns.iter().map(|(heading, _)| *heading).collect::<Vec<_>>();
    let cells = |row: &[String]| line(&row.iter().map(String::as_str).collect::<Vec<_>>());
    rows.iter().fold(line(&headings), |text, row| text + &cells(row.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_for_wide_characters() {
        let rows = [["demo", "7"], ["模型", "1234"]].map(|row| row.map(str::to_owned));
        let shown = table(&[("model", Align::Left), ("queued", Align::Right)], &rows);
        assert_eq!(shown, "model  queued\ndemo        7\n模型     1234\n");
    }
}

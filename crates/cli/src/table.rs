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
pub(crate) fn table<const N: usize>(columns: &[Column; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|at| {
        let cells = rows.iter().map(|row| row[at].width());
        cells.chain([columns[at].0.width()]).max().unwrap_or_default()
    });
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (at, cell) in cells.into_iter().enumerate() {
            let pad = " ".repeat(widths[at].saturating_sub(cell.width()));
            let gap = if at == 0 { "" } else { "  " };
            line += gap;
            match columns[at].1 {
                Align::Left => line += &(cell.to_owned() + &pad),
                Align::Right => line += &(pad + cell),
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let headings = line(std::array::from_fn(|at| columns[at].0));
    let rows = rows.iter().map(|row| line(std::array::from_fn(|at| row[at].as_str())));
    rows.fold(headings, |text, row| text + &row)
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

//! GitHub's Markdown.

use super::document::{Document, Table};
use super::escape::markdown;

pub(super) fn render(document: &Document) -> String {
    let mut text = "# Ended tasks\n\n".to_owned();
    for fact in &document.facts {
        text += &format!("- {fact}\n");
    }
    for shown in &document.tables {
        text += &format!("\n## {}\n\n{}", shown.title, table(shown));
    }
    text
}

fn table(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let headings = table.columns.iter().map(|column| column.heading.to_owned()).collect();
    let rules = table.columns.iter().map(|column| if column.is_number { "--:" } else { ":--" });
    let mut text = line(headings) + &line(rules.map(str::to_owned).collect());
    for row in &table.rows {
        let cell = |(at, cell): (usize, &String)| match table.columns[at].is_number {
            true => cell.clone(), // digits, points and units of ours
            false => markdown(cell),
        };
        text += &line(row.iter().enumerate().map(cell).collect());
    }
    text
}

//! One HTML page: no scripts, and nothing that a browser would load.

use super::RenderError;
use super::document::{Document, Table};
use super::escape::html;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>qwen-queue: ended tasks</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }
h2 { margin: 2rem 0 .5rem; font-size: 1.1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; white-space: nowrap }
td:last-child { white-space: pre-wrap; overflow-wrap: anywhere }
.n { text-align: right }
svg { max-width: 100%; height: auto }
</style>
</head>
<body>
<h1>Ended tasks</h1>
"#;

/// Renders the document with plots, which are SVG elements.
pub(super) fn render(document: &Document, plots: &[String]) -> Result<String, RenderError> {
    let mut text = HEAD.to_owned();
    text += "<ul>\n";
    for fact in &document.facts {
        text += &format!("<li>{}</li>\n", html(fact));
    }
    text += "</ul>\n";
    for plot in plots {
        text += &format!("<figure>\n{plot}\n</figure>\n");
    }
    for shown in &document.tables {
        let title = html(&shown.title);
        text += &format!(
            "<h2>{title}</h2>\n<div class=\"wide\"><table>\n{}</table></div>\n",
            table(shown)
        );
    }
    Ok(text + "</body>\n</html>\n")
}

fn table(table: &Table) -> String {
    let class = |at: usize| if table.columns[at].is_number { " class=\"n\"" } else { "" };
    let line = |element: &str, cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells
            .enumerate()
            .map(|(at, cell)| format!("<{element}{}>{}</{element}>", class(at), html(cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let mut text = line("th", &mut table.columns.iter().map(|column| column.heading));
    for row in &table.rows {
        text += &line("td", &mut row.iter().map(String::as_str));
    }
    text
}

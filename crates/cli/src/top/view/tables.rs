//! The tables of queues, batches and workers. If the screen is too narrow for all columns, the last ones are
//! left out.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::Text;
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, TableState};
use unicode_width::UnicodeWidthStr;

use super::Theme;
use crate::client::admin::{Queue, Worker};
use crate::commands::operate::rows::{self, Id};
use crate::table::{Align, Column};
use crate::top::state::State;

/// The space between columns.
const GAP: u16 = 2;
/// A worker whose last report is older than this, in milliseconds, is highlighted. Workers report
/// every few seconds.
const SILENT_MS: u64 = 15_000;

pub(super) fn queues(frame: &mut Frame<'_>, state: &State, theme: Theme, area: Rect, focus: bool) {
    let queues = state.queues();
    let cells: Vec<_> =
        queues.iter().map(|queue| rows::queue(queue, state.rates.of(&queue.model))).collect();
    let styles: Vec<_> = queues.iter().map(|queue| queue_style(queue, theme)).collect();
    let title = format!(" {} ", counted(queues.len(), "queue"));
    let list = List { title, columns: &rows::QUEUE, cells: &cells, styles: &styles, focus };
    list.draw(frame, area, theme, state.queue_row());
}

pub(super) fn batches(frame: &mut Frame<'_>, state: &State, theme: Theme, area: Rect) {
    let Some(overview) = &state.overview else { return };
    let cells: Vec<_> =
        overview.batches.iter().map(|batch| rows::batch(batch, overview.at)).collect();
    let styles = vec![theme.plain(); cells.len()];
    let noun = if overview.batches_running == 1 { "batch" } else { "batches" };
    let title = format!(" {} {noun} ", overview.batches_running);
    let list = List { title, columns: &rows::BATCH, cells: &cells, styles: &styles, focus: false };
    list.draw(frame, area, theme, None);
}

pub(super) fn workers(frame: &mut Frame<'_>, state: &State, theme: Theme, area: Rect, focus: bool) {
    let workers = state.workers();
    let now = state.overview.as_ref().map_or(0, |overview| overview.at);
    let cells: Vec<_> = workers.iter().map(|worker| rows::worker(worker, now, Id::Short)).collect();
    let styles: Vec<_> = workers.iter().map(|worker| worker_style(worker, now, theme)).collect();
    let title = format!(" {} ", counted(workers.len(), "worker"));
    let list = List { title, columns: &rows::WORKER, cells: &cells, styles: &styles, focus };
    list.draw(frame, area, theme, state.worker_row());
}

fn counted(count: usize, noun: &str) -> String {
    crate::text::count(u64::try_from(count).unwrap_or(u64::MAX), noun)
}

fn queue_style(queue: &Queue, theme: Theme) -> Style {
    match rows::state(queue) {
        "paused" => theme.warn(),
        "no worker" if queue.queued.total() > 0 => theme.bad(),
        "running" => theme.good(),
        _ => theme.plain(),
    }
}

fn worker_style(worker: &Worker, now_ms: u64, theme: Theme) -> Style {
    let silent = worker.last_seen.is_some_and(|seen| seen + SILENT_MS < now_ms);
    match &*worker.status {
        _ if silent || worker.deaf => theme.bad(),
        "draining" | "loading" => theme.warn(),
        _ if worker.running > 0 => theme.good(),
        _ => theme.plain(),
    }
}

/// The content of a table.
struct List<'a, const N: usize> {
    title: String,
    columns: &'a [Column; N],
    cells: &'a [[String; N]],
    /// The style of each row.
    styles: &'a [Style],
    /// Set if the arrow keys move in this table.
    focus: bool,
}

impl<const N: usize> List<'_, N> {
    fn draw(&self, frame: &mut Frame<'_>, area: Rect, theme: Theme, selected: Option<usize>) {
        let border = if self.focus { theme.strong() } else { theme.dim() };
        let block = Block::bordered().title(self.title.as_str()).border_style(border);
        if self.cells.is_empty() {
            frame.render_widget(Paragraph::new("none").style(theme.dim()).block(block), area);
            return;
        }
        let widths = self.widths();
        let shown = fitting(&widths, area.width.saturating_sub(2));
        let aligns = self.columns.iter().map(|(_, align)| *align);
        let headings = self.columns.iter().map(|(name, align)| (*name, *align));
        let rows = self.cells.iter().zip(self.styles).map(|(cells, style)| {
            row(cells.iter().map(String::as_str).zip(aligns.clone()).take(shown)).style(*style)
        });
        let table = Table::new(rows, widths.into_iter().take(shown).map(Constraint::Length))
            .header(row(headings.take(shown)).style(theme.strong()))
            .column_spacing(GAP)
            .row_highlight_style(if self.focus { theme.selected() } else { theme.strong() })
            .block(block);
        let mut position = TableState::new().with_selected(selected);
        frame.render_stateful_widget(table, area, &mut position);
    }

    fn widths(&self) -> [u16; N] {
        std::array::from_fn(|at| {
            let cells = self.cells.iter().map(|cells| cells[at].width());
            let widest = cells.chain([self.columns[at].0.width()]).max().unwrap_or(0);
            u16::try_from(widest).unwrap_or(u16::MAX)
        })
    }
}

fn row<'a>(cells: impl Iterator<Item = (&'a str, Align)>) -> Row<'a> {
    Row::new(cells.map(|(text, align)| Cell::from(aligned(text, align))).collect::<Vec<_>>())
}

fn aligned(text: &str, align: Align) -> Text<'_> {
    match align {
        Align::Left => Text::from(text),
        Align::Right => Text::from(text).right_aligned(),
    }
}

/// Returns how many columns fit, at least one, which may be cut off.
fn fitting(widths: &[u16], room: u16) -> usize {
    let mut used = 0u32;
    let mut fits = |width: &&u16| {
        used += u32::from(**width) + if used == 0 { 0 } else { u32::from(GAP) };
        used <= u32::from(room)
    };
    widths.iter().take_while(|width| fits(width)).count().max(1)
}

//! Draws a state. Pure: the result depends only on the state, the time and the size of the screen.

mod charts;
mod dialogs;
mod tables;
#[cfg(test)]
mod tests;
mod theme;

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::state::{Focus, State};
use crate::commands::operate::totals;
use crate::text::{instant, printable, span};

pub(super) use theme::Theme;

/// Rows of the charts, frame included.
const CHARTS: u16 = 5;
/// The height below which no charts are drawn.
const ROOM_FOR_CHARTS: u16 = 20;
/// The rows of a table's frame and headings.
const FRAME: u16 = 3;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, theme: Theme, now: Instant) {
    let area = frame.area();
    let charts = if area.height >= ROOM_FOR_CHARTS { CHARTS } else { 0 };
    let queues = rows(state.queues().len());
    let batches = match state.batches().len() {
        0 => 0,
        count => rows(count),
    };
    let [head, line, chart, queue, batch, worker, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(charts),
        Constraint::Max(queues),
        Constraint::Max(batches),
        Constraint::Min(FRAME + 1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(header(state, theme, now), head);
    frame.render_widget(figures(state, theme), line);
    if charts > 0 {
        charts::draw(frame, state, theme, chart);
    }
    tables::queues(frame, state, theme, queue, state.focus == Focus::Queues);
    if batches > 0 {
        tables::batches(frame, state, theme, batch);
    }
    tables::workers(frame, state, theme, worker, state.focus == Focus::Workers);
    frame.render_widget(footer(state, theme), foot);
    dialogs::draw(frame, &state.dialog, theme);
}

/// Returns the height of a table of `count` rows. An empty table has one line, which says so.
fn rows(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX - FRAME).max(1) + FRAME
}

/// The first line: version, URL, time of the overview or why there is none.
fn header(state: &State, theme: Theme, now: Instant) -> Paragraph<'static> {
    let age = |since: Instant| span(now.saturating_duration_since(since).as_secs_f64());
    let mut parts = vec![
        Span::styled("qwen-queue", theme.strong()),
        Span::raw(match &state.overview {
            Some(overview) => format!(" {}", printable(&overview.version)),
            None => String::new(),
        }),
        Span::raw(format!("  {}", printable(&state.url))),
    ];
    match (&state.trouble, state.seen) {
        (Some((reason, since)), seen) => {
            let old =
                seen.map_or(String::new(), |(_, at)| format!(", what you see is {} old", age(at)));
            let text =
                format!("  AWAY for {}{old}, trying again: {}", age(*since), printable(reason));
            parts.push(Span::styled(text, theme.bad()));
        }
        (None, Some((first, _))) => {
            let at = state.overview.as_ref().map_or(0, |overview| overview.at);
            let text = format!("  {} UTC, watched for {}", instant(at), age(first));
            parts.push(Span::styled(text, theme.dim()));
        }
        (None, None) => parts.push(Span::styled("  asking …", theme.dim())),
    }
    Paragraph::new(Line::from(parts))
}

/// The second line: totals of all queues.
fn figures(state: &State, theme: Theme) -> Paragraph<'static> {
    let Some(overview) = &state.overview else { return Paragraph::default() };
    let rate = state.rates.total().map_or(String::new(), |rate| format!(", {rate:.2} tasks/s"));
    let style = if overview.dead_letters > 0 { theme.warn() } else { theme.plain() };
    Paragraph::new(Line::styled(format!("{}{rate}", totals(overview)), style))
}

/// The last line: the latest notice, or else the keys.
fn footer(state: &State, theme: Theme) -> Paragraph<'static> {
    Paragraph::new(match &state.notice {
        Some(notice) => {
            let style = if notice.is_error { theme.bad() } else { theme.good() };
            Line::styled(printable(&notice.text), style)
        }
        None => Line::styled(
            "q quit  tab queues/workers  arrows select  p pause or resume  d drain  ? help",
            theme.dim(),
        ),
    })
}

/// Returns a rectangle of this size in the middle of `area`, cut to fit.
fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let (x, y) = ((area.width - width) / 2, (area.height - height) / 2);
    Rect { x: area.x + x, y: area.y + y, width, height }
}

//! The charts: throughput and queue depth over the last minutes.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::{Block, Sparkline};

use super::Theme;
use crate::top::rates::Sample;
use crate::top::state::State;

/// Throughput is charted in thousandths, since sparklines take integers.
const SCALE: f64 = 1_000.0;

/// Draws both charts side by side.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, theme: Theme, area: Rect) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(area);
    let samples: Vec<&Sample> = state.rates.history().collect();
    let peak = samples.iter().map(|sample| sample.throughput).fold(0.0, f64::max);
    let throughput = |sample: &Sample| (sample.throughput * SCALE) as u64;
    let title = format!("tasks/s, at most {peak:.2}");
    chart(frame, left, theme, title, &squeezed(&samples, left.width, throughput));
    let deepest = samples.iter().map(|sample| sample.depth).max().unwrap_or(0);
    let title = format!("queued, at most {deepest}");
    chart(frame, right, theme, title, &squeezed(&samples, right.width, |sample| sample.depth));
}

fn chart(frame: &mut Frame<'_>, area: Rect, theme: Theme, title: String, data: &[u64]) {
    let block = Block::bordered().title(title).border_style(theme.dim());
    frame.render_widget(Sparkline::default().block(block).data(data).style(theme.chart()), area);
}

/// Reduces the samples to one value per column inside the frame, the latest last. Samples that
/// share a column are reduced to their maximum, so that peaks stay visible.
fn squeezed(samples: &[&Sample], width: u16, value: impl Fn(&Sample) -> u64) -> Vec<u64> {
    let columns = usize::from(width.saturating_sub(2)).max(1);
    let share = samples.len().div_ceil(columns).max(1);
    let columns = samples.rchunks(share);
    let mut values: Vec<u64> =
        columns.map(|chunk| chunk.iter().map(|sample| value(sample)).max().unwrap_or(0)).collect();
    values.reverse();
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_history_fits_and_keeps_its_peaks() {
        let mut history = vec![Sample { throughput: 0.0, depth: 1 }; 100];
        history[37].depth = 9;
        let samples: Vec<_> = history.iter().collect();
        let squeezed = squeezed(&samples, 12, |sample| sample.depth);
        assert_eq!(squeezed.len(), 10);
        assert_eq!(squeezed.iter().filter(|depth| **depth == 9).count(), 1);
    }
}

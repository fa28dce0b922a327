//! The dialogs over the tables: help, and the confirmation of an order.

use ratatui::Frame;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::{Theme, centred};
use crate::top::state::Dialog;

const HELP: &str = "\
q, Esc       quit
Tab          switch between queues and workers
arrows, j k  select a row
p            pause the selected model, or resume it
d            drain the selected worker
?            this help

avg is a task's average processing time; tasks/s
is over the last 10 seconds. Dead letters:
qwen-queue dead list. Logs: qwen-queue logs.";

/// Draws the dialog, if there is one.
pub(super) fn draw(frame: &mut Frame<'_>, dialog: &Dialog, theme: Theme) {
    let (title, text, width, height) = match dialog {
        Dialog::None => return,
        Dialog::Help => (" help, any key closes it ", HELP.to_owned(), 52, 13),
        Dialog::Confirm(order) => {
            (" confirm ", format!("{}\n\ny yes   n no", order.question()), 64, 7)
        }
    };
    let area = centred(frame.area(), width, height);
    let block = Block::bordered().title(title).border_style(theme.strong());
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).block(block), area);
}

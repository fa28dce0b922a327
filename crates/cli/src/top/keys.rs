//! Handles keys: each changes the state or leads to an action.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::Order;
use super::state::{Dialog, Focus, State};

/// The action that a key requires of the caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Continue,
    Order(Order),
    Quit,
}

/// Handles a key.
pub(super) fn press(state: &mut State, key: KeyEvent) -> Action {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
        return Action::Quit;
    }
    match std::mem::replace(&mut state.dialog, Dialog::None) {
        Dialog::Confirm(order) => match key.code {
            KeyCode::Char('y' | 'Y') => Action::Order(order),
            KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => Action::Continue,
            _ => {
                state.dialog = Dialog::Confirm(order);
                Action::Continue
            }
        },
        Dialog::Help => Action::Continue, // any key closes it
        Dialog::None => {
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Action::Quit,
                KeyCode::Char('?' | 'h') => state.dialog = Dialog::Help,
                KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right => {
                    state.focus = match state.focus {
                        Focus::Queues => Focus::Workers,
                        Focus::Workers => Focus::Queues,
                    };
                }
                KeyCode::Up | KeyCode::Char('k') => state.select(-1),
                KeyCode::Down | KeyCode::Char('j') => state.select(1),
                KeyCode::Home => state.select(isize::MIN),
                KeyCode::End => state.select(isize::MAX),
                KeyCode::Char('p') => state.dialog = pause(state),
                KeyCode::Char('d') => state.dialog = drain(state),
                _ => {}
            }
            Action::Continue
        }
    }
}

fn pause(state: &State) -> Dialog {
    let Some(queue) = state.selected_queue() else { return Dialog::None };
    let model = queue.model.clone();
    Dialog::Confirm(if queue.paused { Order::Resume { model } } else { Order::Pause { model } })
}

fn drain(state: &State) -> Dialog {
    let Some(worker) = state.selected_worker() else { return Dialog::None };
    Dialog::Confirm(Order::Drain { worker: worker.id.clone(), host: worker.host.clone() })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::client::admin::{Overview, Queue, Worker};
    use crate::top::feed::Report;

    fn state() -> State {
        let mut state = State::new("http://here".into());
        show(&mut state, &["a", "b"]);
        state
    }

    fn show(state: &mut State, models: &[&str]) {
        let queue = |model: &&str| Queue {
            model: (*model).into(),
            paused: *model == "b",
            ..Queue::default()
        };
        let worker = |id: &str| Worker { id: id.into(), host: "gpu".into(), ..Worker::default() };
        let overview = Overview {
            queues: models.iter().map(queue).collect(),
            workers: vec![worker("w1"), worker("w2")],
            ..Overview::default()
        };
        state.take(Report::Overview(Ok(Box::new(overview))), Instant::now());
    }

    fn type_in(state: &mut State, keys: &[KeyCode]) -> Action {
        keys.iter().fold(Action::Continue, |_, key| press(state, KeyEvent::from(*key)))
    }

    #[test]
    fn pausing_and_resuming_require_confirmation() {
        use KeyCode::{Char, Down, Enter};
        let mut state = state();
        assert_eq!(type_in(&mut state, &[Char('p'), Char('n')]), Action::Continue);
        assert_eq!(state.dialog, Dialog::None);
        assert_eq!(
            type_in(&mut state, &[Char('p'), Enter]),
            Action::Continue,
            "Enter is not a confirmation"
        );
        let paused = type_in(&mut state, &[Char('y')]);
        assert_eq!(paused, Action::Order(Order::Pause { model: "a".into() }));
        let resumed = type_in(&mut state, &[Down, Char('p'), Char('y')]);
        assert_eq!(resumed, Action::Order(Order::Resume { model: "b".into() }));
    }

    #[test]
    fn a_selection_stays_with_its_row_when_rows_move() {
        use KeyCode::{Char, Down};
        let mut state = state();
        type_in(&mut state, &[Down, Down, Down]);
        show(&mut state, &["a", "a2", "b"]);
        assert_eq!(state.queue_row(), Some(2));
        show(&mut state, &["a"]);
        assert_eq!(state.queue_row(), Some(0), "its queue is gone, so the first is selected");
        show(&mut state, &[]);
        assert_eq!(state.queue_row(), None);
        assert_eq!(
            type_in(&mut state, &[Char('p'), Char('y')]),
            Action::Continue,
            "there is nothing to pause"
        );
    }

    #[test]
    fn drain_applies_to_the_selected_worker() {
        use KeyCode::{Char, Down, Tab};
        let mut state = state();
        let action = type_in(&mut state, &[Tab, Down, Char('d'), Char('y')]);
        assert_eq!(action, Action::Order(Order::Drain { worker: "w2".into(), host: "gpu".into() }));
    }

    #[test]
    fn q_escape_and_control_c_quit_or_close_the_dialog() {
        use KeyCode::{Char, Esc};
        assert_eq!(type_in(&mut state(), &[Char('q')]), Action::Quit);
        assert_eq!(
            type_in(&mut state(), &[Char('p'), Esc]),
            Action::Continue,
            "closes the question only"
        );
        assert_eq!(
            type_in(&mut state(), &[Char('?'), Char('q')]),
            Action::Continue,
            "closes the help only"
        );
        let control_c = KeyEvent::new(Char('c'), KeyModifiers::CONTROL);
        let mut asking = state();
        type_in(&mut asking, &[Char('p')]);
        assert_eq!(press(&mut asking, control_c), Action::Quit);
    }
}

//! Colours, unless `NO_COLOR` is set (<https://no-color.org>).

use ratatui::style::{Color, Modifier, Style};

/// The styles of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::top) struct Theme {
    /// Enables colours.
    coloured: bool,
}

impl Theme {
    /// Uses colours unless `NO_COLOR` is set to a non-empty value.
    pub(in crate::top) fn from_env() -> Self {
        Self::new(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    pub(super) fn new(coloured: bool) -> Self {
        Self { coloured }
    }

    pub(super) fn plain(self) -> Style {
        Style::new()
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn good(self) -> Style {
        self.colour(Color::Green)
    }

    pub(super) fn warn(self) -> Style {
        self.colour(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn chart(self) -> Style {
        self.colour(Color::Cyan)
    }

    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn colour(self, colour: Color) -> Style {
        if self.coloured { Style::new().fg(colour) } else { Style::new() }
    }
}

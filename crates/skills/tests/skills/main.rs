//! The files of skills: the built-in ones, what is refused, and a folder that changes while it is used.
#![allow(clippy::unwrap_used, clippy::expect_used)] // in helpers too

mod built_in;
mod folder;
mod refused;

/// A small skill.
const GREETING: &str = r#"name = "greeting"
title = "Greet"
description = "Greets somebody."

[fields.who]
type = "text"
description = "Whom to greet."

[prompt]
user = '''
Say hello to {{ who }}.
{{ prompt }}
'''
"#;

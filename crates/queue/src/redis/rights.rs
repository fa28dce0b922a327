//! Rights that the user of a Redis server lacks: parsed from the reply of `rights.lua`, and described
//! with the ACL rule that grants them.

use std::collections::BTreeSet;

use redis::RedisError;

use super::prefix::KeyPrefix;
use crate::contract::causes;

/// Missing rights.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// Names of commands, as in an ACL rule: `xadd`, `script|load`.
    commands: BTreeSet<String>,
    /// A key that may not be read, and one that may not be written.
    unreadable: Option<String>,
    unwritable: Option<String>,
    /// A channel that may not be used.
    channel: Option<String>,
}

impl Missing {
    /// Parses the reply of `rights.lua`.
    pub(super) fn read(lines: &[String]) -> Self {
        let mut missing = Self::default();
        for line in lines {
            let (kind, name) = line.split_once(' ').unwrap_or(("command", line));
            let note = |place: &mut Option<String>| *place = place.take().or(Some(name.into()));
            match kind {
                "read" => note(&mut missing.unreadable),
                "write" => note(&mut missing.unwritable),
                "channel" => note(&mut missing.channel),
                _ => missing.command(name),
            }
        }
        missing
    }

    /// Creates a value with one missing command.
    pub(super) fn of(command: &str) -> Self {
        Self { commands: [command.to_owned()].into(), ..Self::default() }
    }

    /// Adds a command.
    pub(super) fn command(&mut self, name: &str) {
        self.commands.insert(name.to_owned());
    }

    /// Adds the right for which a SUBSCRIBE to `channel` was refused.
    pub(super) fn subscribe(&mut self, channel: &str, error: &RedisError) {
        if error.detail().is_some_and(|text| text.contains("channel")) {
            self.channel.get_or_insert_with(|| channel.to_owned());
        } else {
            self.command("subscribe");
        }
    }

    /// Returns whether no right is missing.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Describes the missing rights to the keys with that prefix, and how to grant them to `user`.
    pub(super) fn describe(&self, user: &str, prefix: &KeyPrefix) -> String {
        let all = format!("{prefix}:*");
        let mut what = Vec::new();
        let mut rules: Vec<String> =
            self.commands.iter().map(|command| format!("+{command}")).collect();
        if !self.commands.is_empty() {
            let names: Vec<_> =
                self.commands.iter().map(|name| name.replace('|', " ").to_uppercase()).collect();
            let word = if names.len() == 1 { "command" } else { "commands" };
            what.push(format!("the {word} {}", names.join(", ")));
        }
        for (verb, key) in [("reading", &self.unreadable), ("writing", &self.unwritable)] {
            what.extend(key.as_ref().map(|key| format!("{verb} the keys {all} (such as {key})")));
        }
        if self.unreadable.is_some() || self.unwritable.is_some() {
            rules.push(format!("~{all}"));
        }
        if let Some(channel) = &self.channel {
            what.push(format!("the channels {all} (such as {channel})"));
            rules.push(format!("&{all}"));
        }
        format!(
            "the user '{user}' {}: {}; grant them with: ACL SETUSER \
             {user} {}  (docs/OPERATING.md has the whole rule)",
            causes::RIGHTS,
            what.join("; "),
            rules.join(" ")
        )
    }
}

/// Returns whether Redis refused for a missing right: outside of a script (`NOPERM`), or in one.
pub(super) fn is_refused(error: &RedisError) -> bool {
    error.code() == Some("NOPERM") || error.detail().is_some_and(is_refusal)
}

/// Returns the same for a script's message, as worded by Redis 7.0, or by 7.2 and Valkey.
pub(super) fn is_refusal(text: &str) -> bool {
    ["user executing the script can't", "ACL failure in script", "no permissions to"]
        .iter()
        .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(missing: &Missing) -> String {
        missing.describe("u", &KeyPrefix::default())
    }

    fn missing(lines: &[&str]) -> Missing {
        Missing::read(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn missing_rights_are_named_with_the_acl_rule_that_grants_them() {
        assert!(missing(&[]).is_empty());
        let said = describe(&missing(&["command xadd", "command script|load"]));
        assert!(said.contains("the commands SCRIPT LOAD, XADD;"), "{said}");
        assert!(said.contains("ACL SETUSER u +script|load +xadd "), "{said}");
        let said = describe(&missing(&["write qq:{0}:leases", "write qq:{0}:dead"]));
        assert!(said.contains("writing the keys qq:* (such as qq:{0}:leases)"), "{said}");
        assert!(said.contains("ACL SETUSER u ~qq:* "), "{said}");
        let said = describe(&missing(&["channel qq:{0}:cancel", "command publish"]));
        assert!(said.contains("the command PUBLISH; the channels qq:*"), "{said}");
        assert!(said.contains("ACL SETUSER u +publish &qq:* "), "{said}");
    }
}

//! [`Aliases`]: other names of models.

use std::str::FromStr;

use protocol::ModelId;

/// The target that stands for the default model.
const DEFAULT: &str = "default";
/// The alias that stands for every name that is neither served nor an alias.
const ANY: &str = "*";

/// Other names under which clients may request models: `gpt-4o=Qwen/Qwen3-4B-GGUF,*=default`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases(Vec<(String, Target)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Default,
    Model(ModelId),
}

impl Aliases {
    /// Returns the model that a name stands for: `Some(None)` is the default model, `None` means that
    /// the name is no alias. The name `*` stands for all names that are not in the list.
    pub fn find(&self, name: &str) -> Option<Option<&ModelId>> {
        let named = |wanted: &str| self.0.iter().find(|(alias, _)| alias == wanted);
        let (_, target) = named(name).or_else(|| named(ANY))?;
        Some(match target {
            Target::Default => None,
            Target::Model(model) => Some(model),
        })
    }

    /// Returns the aliases that are names, without `*`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(alias, _)| alias.as_str()).filter(|alias| *alias != ANY)
    }
}

impl FromStr for Aliases {
    type Err = ();

    /// Parses `alias=model` pairs that are separated by commas. The error: a pair lacks one side, or an
    /// alias has two models.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut aliases: Vec<(String, Target)> = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (alias, model) = pair.split_once('=').ok_or(())?;
            let (alias, model) = (alias.trim(), model.trim());
            if alias.is_empty() || model.is_empty() || aliases.iter().any(|(a, _)| a == alias) {
                return Err(());
            }
            let target = match model {
                DEFAULT => Target::Default,
                model => Target::Model(ModelId::from_source(model)),
            };
            aliases.push((alias.to_owned(), target));
        }
        Ok(Self(aliases))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_a_model_the_default_or_nothing() {
        let aliases: Aliases = "gpt-4o = Qwen/Qwen3-4B-GGUF:Q4_K_M, small=default".parse().unwrap();
        let model = ModelId::from_source("Qwen/Qwen3-4B-GGUF:Q4_K_M");
        assert_eq!(aliases.find("gpt-4o"), Some(Some(&model)));
        assert_eq!(aliases.find("small"), Some(None));
        assert_eq!(aliases.find("other"), None);
        assert_eq!(aliases.names().collect::<Vec<_>>(), ["gpt-4o", "small"]);
        let any: Aliases = "a=b,*=default".parse().unwrap();
        assert_eq!(any.find("a"), Some(Some(&ModelId::new("b"))));
        assert_eq!(any.find("other"), Some(None));
        assert_eq!(any.names().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn incomplete_pairs_are_refused() {
        assert_eq!("".parse(), Ok(Aliases::default()));
        for text in ["a", "a=", "=b", "a=b,a=c", "*"] {
            assert_eq!(text.parse::<Aliases>(), Err(()), "{text}");
        }
    }
}

//! The requests of a load: a mix of kinds, or those of a file.

use std::fs::{self, File};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::client::Client;

/// Prompts of a few words.
const SHORT: [&str; 4] = [
    "How do I add a worker?",
    "What is a lease?",
    "How long are results kept?",
    "Which route do I call for a health check?",
];
/// A sentence of long prompts, and how often they have it: about 1,000 tokens.
const SENTENCE: &str = "The queue keeps each task until a worker has recorded its outcome. ";
const REPEATED: usize = 75;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A question of a few words.
    Short,
    /// A prompt of about 1,000 tokens.
    Long,
    /// A question about an image.
    Image,
}

impl Kind {
    const ALL: [(&'static str, Self); 3] =
        [("short", Self::Short), ("long", Self::Long), ("image", Self::Image)];
}

/// Shares of kinds, in the order in which requests have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mix(Vec<Kind>);

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut shares = Vec::new();
        for part in text.split(',') {
            let (name, share) = part.split_once('=').unwrap_or((part, "1"));
            let kind = Kind::ALL.into_iter().find(|(known, _)| *known == name.trim());
            let (_, kind) =
                kind.ok_or_else(|| format!("'{name}' is none of short, long and image"))?;
            let share: usize = share.trim().parse().map_err(|_| whole(share))?;
            if share > 1_000 {
                return Err(whole(&share.to_string()));
            }
            shares.push((kind, share));
        }
        let total: usize = shares.iter().map(|(_, share)| share).sum();
        if total == 0 {
            return Err("at least one share must be more than 0".to_owned());
        }
        // Each next request is of the kind that is furthest behind its share.
        let mut sent = vec![0; shares.len()];
        let order = (1..=total).map(|count| {
            let behind = |at: &usize| (shares[*at].1 * count) as i64 - (sent[*at] * total) as i64;
            let at = (0..shares.len()).rev().max_by_key(behind).unwrap_or_default();
            sent[at] += 1;
            shares[at].0
        });
        Ok(Self(order.collect()))
    }
}

fn whole(share: &str) -> String {
    format!("a share is a whole number from 0 to 1,000, not '{share}'")
}

/// The bodies of requests.
#[derive(Debug)]
pub(super) struct Requests {
    source: Source,
    /// The blob that was uploaded for them.
    blob: Option<String>,
}

#[derive(Debug)]
enum Source {
    Mix { kinds: Vec<Kind>, max_tokens: u32, model: Option<String> },
    Bodies(Vec<Value>),
}

impl Requests {
    /// Prepares a mix; uploads its image.
    ///
    /// # Errors
    /// If the mix has images and none is given, or the image can't be read or uploaded.
    pub(super) fn of_mix(
        mix: &Mix,
        image: Option<&Path>,
        max_tokens: u32,
        model: Option<&str>,
        client: &Client,
    ) -> Result<Self> {
        let blob = match (image, mix.0.contains(&Kind::Image)) {
            (Some(path), true) => Some(upload(client, path)?),
            (None, true) => bail!("the mix has questions about an image: name it with --image"),
            (Some(_), false) => {
                bail!("the mix has no questions about --image: add image=1 to --mix")
            }
            (None, false) => None,
        };
        let model = model.map(str::to_owned);
        Ok(Self { source: Source::Mix { kinds: mix.0.clone(), max_tokens, model }, blob })
    }

    /// Reads JSON Lines.
    ///
    /// # Errors
    /// If the file can't be read, or a line is no JSON object.
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let unusable = || format!("can't use {}", path.display());
        let text = fs::read_to_string(path).with_context(unusable)?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let bodies = lines.map(|(at, line)| {
            let body: Value = serde_json::from_str(line)
                .with_context(|| format!("{} line {}", path.display(), at + 1))?;
            if !body.is_object() {
                bail!("{} line {}: it is no JSON object", path.display(), at + 1);
            }
            Ok(body)
        });
        let bodies = bodies.collect::<Result<Vec<Value>>>()?;
        if bodies.is_empty() {
            bail!("{} has no requests", path.display());
        }
        Ok(Self { source: Source::Bodies(bodies), blob: None })
    }

    /// Returns the body of request `number`. Those of a mix all differ, so that no two prompts share a cached answer.
    pub(super) fn body(&self, number: usize) -> Value {
        let (kinds, max_tokens, model) = match &self.source {
            Source::Bodies(bodies) => return bodies[number % bodies.len()].clone(),
            Source::Mix { kinds, max_tokens, model } => (kinds, max_tokens, model),
        };
        let question = SHORT[number % SHORT.len()];
        let mut body = match kinds[number % kinds.len()] {
            Kind::Short => json!({"prompt": format!("{number}. {question}")}),
            Kind::Long => {
                json!({"prompt": format!("{number}. {}{question}", SENTENCE.repeat(REPEATED))})
            }
            Kind::Image => json!({"messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": self.blob}},
                {"type": "text", "text": format!("{number}. What does the image show?")}
            ]}]}),
        };
        body["max_tokens"] = (*max_tokens).into();
        if let Some(model) = model {
            body["model"] = model.as_str().into();
        }
        body
    }

    /// Deletes the image. If that fails, it expires.
    pub(super) fn clean_up(&self, client: &Client) {
        if let Some(blob) = &self.blob
            && let Err(error) = client.delete_blob(blob)
        {
            tracing::debug!("the uploaded image stays until it expires: {error}");
        }
    }
}

fn upload(client: &Client, path: &Path) -> Result<String> {
    let unusable = || format!("can't use {}", path.display());
    let mut file = File::open(path).with_context(unusable)?;
    let length = file.metadata().with_context(unusable)?.len();
    client.upload(&mut file, length).with_context(|| format!("can't upload {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_spreads_its_kinds_evenly() {
        let mix: Mix = "short=4,long=2".parse().unwrap();
        use Kind::{Long, Short};
        assert_eq!(mix.0, [Short, Long, Short, Short, Long, Short]);
        assert_eq!("image".parse::<Mix>().unwrap().0, [Kind::Image]);
    }

    #[test]
    fn wrong_mixes_say_what_is_allowed() {
        for (mix, said) in [
            ("tall=1", "none of short, long and image"),
            ("short=x", "a whole number"),
            ("short=-1", "a whole number"),
            ("short=1001", "from 0 to 1,000"),
            ("short=0,long=0", "more than 0"),
            ("", "none of"),
        ] {
            let error = mix.parse::<Mix>().unwrap_err();
            assert!(error.contains(said), "{mix}: {error}");
        }
    }

    #[test]
    fn prompts_of_a_mix_differ_and_have_the_options() {
        let mix: Mix = "short=1,long=1".parse().unwrap();
        let client = Client::of("http://127.0.0.1:1");
        let requests = Requests::of_mix(&mix, None, 7, Some("m"), &client).unwrap();
        let prompts: Vec<String> =
            (0..8).map(|at| requests.body(at)["prompt"].to_string()).collect();
        let mut distinct = prompts.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 8);
        assert!(prompts[1].len() > 4_000 && prompts[0].len() < 100, "{prompts:?}");
        assert_eq!(
            (&requests.body(3)["max_tokens"], &requests.body(3)["model"]),
            (&json!(7), &json!("m"))
        );
        let image: Mix = "image".parse().unwrap();
        let error = Requests::of_mix(&image, None, 7, None, &client).unwrap_err();
        assert!(error.to_string().contains("--image"), "{error}");
    }

    #[test]
    fn files_are_read_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("requests.jsonl");
        fs::write(&file, "{\"prompt\": \"a\"}\n\n{\"prompt\": \"b\"}\n").unwrap();
        let requests = Requests::of_file(&file).unwrap();
        assert_eq!(requests.body(3)["prompt"], "b");
        for (content, said) in
            [("", "no requests"), ("[]", "line 1: it is no JSON object"), ("{\n", "line 1")]
        {
            fs::write(&file, content).unwrap();
            let error = format!("{:#}", Requests::of_file(&file).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }
}

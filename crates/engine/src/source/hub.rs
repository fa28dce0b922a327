//! Requests to the hub, and the classification of its responses.

use std::thread;
use std::time::Duration;

use proxies::{Agents, Variables};
use serde::Deserialize;
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Body, BodyReader};

use super::cache::{self, RepoCache};
use super::options::SourceOptions;
use super::{HubName, SourceError};

/// The maximum size of a file list, which usually has some kilobytes.
const MAX_LIST_BYTES: u64 = 16 << 20;
const MAX_REDIRECTS: usize = 5;
const MAX_WAIT: Duration = Duration::from_secs(10);

/// One repository on the hub.
pub(super) struct Hub<'a> {
    agents: Agents,
    options: &'a SourceOptions,
    name: &'a HubName,
    cache: &'a RepoCache,
    /// The hub's address in messages, without a password.
    shown: String,
}

/// The contents of a repository.
pub(super) struct Listing {
    /// The commit, or the branch if the hub does not return it.
    pub(super) commit: String,
    /// The paths of its files.
    pub(super) files: Vec<String>,
}

/// The hub's metadata of a file, queried before the download.
#[derive(Debug)]
pub(super) struct RemoteFile {
    /// Its path within the repository.
    pub(super) name: String,
    /// Its commit.
    pub(super) commit: String,
    /// The name of its blob.
    pub(super) etag: String,
    pub(super) size: Option<u64>,
}

impl RemoteFile {
    /// Returns the SHA-256, which is the etag of large files.
    pub(super) fn sha256(&self) -> Option<&str> {
        let is_hash = self.etag.len() == 64 && self.etag.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then_some(self.etag.as_str())
    }
}

/// A file's content as it is received.
pub(super) struct Stream {
    pub(super) reader: BodyReader<'static>,
    /// The offset of the first received byte.
    pub(super) start: u64,
    /// The size of the whole file, if the server returned it.
    pub(super) total: Option<u64>,
}

/// The error of a request.
pub(super) enum Failure {
    /// Transient: a retry may succeed.
    Again(String),
    /// Permanent.
    Final(SourceError),
}

#[derive(Deserialize)]
struct RepoInfo {
    sha: Option<String>,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

struct Answer {
    response: Response<Body>,
    /// Whether the response is the hub's, not that of a server it redirected to.
    of_hub: bool,
}

impl<'a> Hub<'a> {
    pub(super) fn new(
        options: &'a SourceOptions,
        name: &'a HubName,
        cache: &'a RepoCache,
    ) -> Result<Self, SourceError> {
        let agents = Agents::new(Variables::from_env(), |config| {
            config
                // Redirects are followed by this module, so that only the hub gets the token.
                .max_redirects(0)
                .http_status_as_error(false)
                .timeout_connect(Some(Duration::from_secs(15)))
                .timeout_recv_response(Some(Duration::from_secs(60)))
                .timeout_per_read(Some(Duration::from_secs(60)))
                .user_agent(concat!("qwen-queue/", env!("CARGO_PKG_VERSION")))
        });
        let shown = without_user(&options.endpoint);
        Ok(Self { agents, options, name, cache, shown })
    }

    /// Returns the repository, `owner/name`.
    pub(super) fn repo(&self) -> &str {
        &self.name.repo
    }

    /// Returns the paths of the repository's files.
    pub(super) fn files(&self) -> Result<Listing, SourceError> {
        let revision = percent_encode_segment(self.name.revision());
        let url =
            format!("{}/api/models/{}/revision/{revision}", self.options.endpoint, self.name.repo);
        let wanted = match &self.name.quant {
            Some(quant) => format!("the {quant} file of {}", self.name.repo),
            None => format!("a model file of {}", self.name.repo),
        };
        let info: RepoInfo = self.with_retries(&wanted, || {
            let mut answer = self.send(&url, false, None, true)?;
            self.check(&answer)?;
            let body = answer.response.body_mut().with_config().limit(MAX_LIST_BYTES);
            let text = body.read_to_vec().map_err(|error| Failure::Again(error.to_string()))?;
            serde_json::from_slice(&text)
                .map_err(|error| self.protocol(format!("its list of files: {error}")))
        })?;
        let files = info.siblings.into_iter().map(|file| file.rfilename).collect();
        let is_commit = |sha: &String| sha.bytes().all(|byte| byte.is_ascii_hexdigit());
        let commit = info.sha.filter(is_commit).unwrap_or_else(|| self.name.revision().to_owned());
        Ok(Listing { commit, files })
    }

    /// Returns the hub's metadata of a file at a commit or branch.
    pub(super) fn metadata(&self, revision: &str, file: &str) -> Result<RemoteFile, SourceError> {
        let url = self.url(revision, file);
        self.with_retries(file, || {
            let answer = self.send(&url, true, None, false)?;
            // A redirect to the content has the metadata as well.
            if !answer.response.status().is_redirection() {
                self.check(&answer)?;
            }
            let headers = answer.response.headers();
            let commit = text(headers, "x-repo-commit");
            let etag = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"));
            let size = text(headers, "x-linked-size").or_else(|| {
                let own = !answer.response.status().is_redirection();
                own.then(|| text(headers, "content-length")).flatten()
            });
            let (Some(commit), Some(etag)) = (commit, etag) else {
                return Err(self.protocol(format!("{file} comes without a commit or an etag")));
            };
            let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
            // These become file names in the cache.
            for (what, part) in [("commit", commit), ("etag", &etag), ("file name", file)] {
                if !cache::is_safe(part) || (what != "file name" && part.contains('/')) {
                    return Err(self.protocol(format!("the {what} {part:?}")));
                }
            }
            Ok(RemoteFile {
                name: file.to_owned(),
                commit: commit.to_owned(),
                etag,
                size: size.and_then(|size| size.parse().ok()),
            })
        })
    }

    /// Requests the content of a file, from an offset on if the server supports that.
    pub(super) fn stream(&self, file: &RemoteFile, from: u64) -> Result<Stream, Failure> {
        let answer = self.send(&self.url(&file.commit, &file.name), false, Some(from), true)?;
        self.check(&answer)?;
        let headers = answer.response.headers();
        let (start, total) = if answer.response.status() == StatusCode::PARTIAL_CONTENT {
            let range = text(headers, "content-range").and_then(content_range);
            let (start, total) = range
                .ok_or_else(|| self.protocol(format!("no range for part of {}", file.name)))?;
            if start != from {
                return Err(self.protocol(format!("{} from byte {start}, not {from}", file.name)));
            }
            (start, total)
        } else {
            (0, text(headers, "content-length").and_then(|length| length.parse().ok()))
        };
        let body = answer.response.into_body().into_with_config().limit(u64::MAX);
        Ok(Stream { reader: body.reader(), start, total })
    }

    /// Returns the URL of a file.
    fn url(&self, revision: &str, file: &str) -> String {
        let path: Vec<String> = file.split('/').map(percent_encode_segment).collect();
        let (revision, path) = (percent_encode_segment(revision), path.join("/"));
        format!("{}/{}/resolve/{revision}/{path}", self.options.endpoint, self.name.repo)
    }

    /// Sends a request and follows redirects: all of them, or only those within the hub.
    fn send(
        &self,
        url: &str,
        head: bool,
        from: Option<u64>,
        leave: bool,
    ) -> Result<Answer, Failure> {
        if self.options.offline {
            let cause = "HF_HUB_OFFLINE is set".to_owned();
            return Err(Failure::Final(self.unreachable(&self.name.repo, cause)));
        }
        let hub = origin(&self.options.endpoint);
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let of_hub = origin(&url) == hub;
            // Each redirect may lead to a host with another proxy, or without one.
            let (agent, via) = self.agents.for_url(&url).map_err(|error| {
                Failure::Final(self.unreachable(&self.name.repo, error.to_string()))
            })?;
            let mut request = if head { agent.head(&url) } else { agent.get(&url) };
            // Size and hash are those of the unencoded content.
            request = request.header(header::ACCEPT_ENCODING, "identity");
            if let Some(from) = from.filter(|&from| from > 0) {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            if let Some(token) = self.options.token.as_ref().filter(|_| of_hub) {
                request = request.header(header::AUTHORIZATION, token.header());
            }
            let response = request.call().map_err(|error| {
                let via = via.map_or_else(String::new, |via| format!(", through {via}"));
                Failure::Again(format!("{error}{via}"))
            })?;
            let headers = response.headers();
            let location = match text(headers, "location") {
                Some(location) if response.status().is_redirection() => location,
                _ => return Ok(Answer { response, of_hub }),
            };
            let next = match location.starts_with('/') && !location.starts_with("//") {
                true => format!("{}{location}", origin(&url)),
                false => location.to_owned(),
            };
            let known = text(headers, "x-linked-etag").is_some();
            if !leave && (known || origin(&next) != hub) {
                return Ok(Answer { response, of_hub });
            }
            if url.starts_with("https://") && !next.starts_with("https://") {
                return Err(self.protocol("a redirect away from https".to_owned()));
            }
            url = next;
        }
        Err(self.protocol("too many redirects".to_owned()))
    }

    /// Classifies a status: success, transient error, or permanent error.
    fn check(&self, answer: &Answer) -> Result<(), Failure> {
        let status = answer.response.status();
        let (repo, endpoint) = (self.name.repo.clone(), self.shown.clone());
        match status.as_u16() {
            200..=299 => Ok(()),
            status @ (401 | 403) if answer.of_hub => {
                Err(Failure::Final(SourceError::Refused { repo, endpoint, status }))
            }
            404 if answer.of_hub => Err(Failure::Final(SourceError::NotFound { repo, endpoint })),
            408 | 429 | 500..=599 => Err(Failure::Again(format!("the server answered {status}"))),
            // Links to the content expire; the hub returns a new one.
            _ if !answer.of_hub => Err(Failure::Again(format!("the server answered {status}"))),
            _ => Err(self.protocol(format!("the status {status}"))),
        }
    }

    fn with_retries<T>(
        &self,
        wanted: &str,
        mut request: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, SourceError> {
        let mut failed = 0;
        loop {
            match request() {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(cause)) => {
                    failed += 1;
                    // Report a missing network early.
                    if failed >= self.options.attempts.min(3) {
                        return Err(self.unreachable(wanted, cause));
                    }
                    self.wait(failed, &cause);
                }
            }
        }
    }

    /// Waits before a retry; longer each time.
    pub(super) fn wait(&self, failed: u32, cause: &str) {
        let factor = 1u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
        let wait = self.options.retry_wait.saturating_mul(factor).min(MAX_WAIT);
        tracing::warn!("{}: {cause}; trying again in {wait:.1?}", self.shown);
        thread::sleep(wait);
    }

    pub(super) fn unreachable(&self, wanted: &str, cause: String) -> SourceError {
        SourceError::Unreachable {
            file: wanted.to_owned(),
            cause,
            snapshots: self.cache.snapshots(),
            page: format!("{}/{}/tree/{}", self.shown, self.name.repo, self.name.revision()),
        }
    }

    fn protocol(&self, problem: String) -> Failure {
        Failure::Final(self.nonsense(problem))
    }

    /// Returns the error for an invalid response.
    pub(super) fn nonsense(&self, problem: String) -> SourceError {
        let (repo, endpoint) = (self.name.repo.clone(), self.shown.clone());
        SourceError::Protocol { repo, endpoint, problem }
    }
}

/// Percent-encodes a text as one segment of a URL's path.
fn percent_encode_segment(text: &str) -> String {
    let mut part = String::new();
    for byte in text.bytes() {
        match byte {
            b'-' | b'_' | b'.' | b'~' => part.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => part.push(char::from(byte)),
            _ => part.push_str(&format!("%{byte:02X}")),
        }
    }
    part
}

/// Removes the user and password from a URL.
fn without_user(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host..])
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// Parses `bytes 5-9/10`: returns the first offset and the size of the whole.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        assert_eq!(origin("https://huggingface.co/a/b?c"), "https://huggingface.co");
        assert_eq!(origin("http://127.0.0.1:80"), "http://127.0.0.1:80");
        assert_ne!(origin("https://huggingface.co@evil/"), "https://huggingface.co");
        assert_ne!(origin("https://huggingface.co.evil/"), "https://huggingface.co");
    }

    #[test]
    fn urls_are_percent_encoded_and_shown_without_credentials() {
        assert_eq!(percent_encode_segment("refs/pr/7"), "refs%2Fpr%2F7");
        assert_eq!(percent_encode_segment("v1.0 ä"), "v1.0%20%C3%A4");
        assert_eq!(without_user("https://me:s@cret@hub.x/a@b"), "https://hub.x/a@b");
        assert_eq!(without_user("http://hub.x"), "http://hub.x");
    }

    #[test]
    fn ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */10"), None);
    }
}

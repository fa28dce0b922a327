//! The table: the text in each of the three sources, and the expected result.

/// One line of the table.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) name: &'static str,
    /// The variable's value.
    pub(crate) environment: &'static str,
    /// Lines of `.env`.
    pub(crate) dotenv: &'static str,
    /// Lines of the YAML file.
    pub(crate) yaml: &'static str,
    pub(crate) expected: Expected,
}

/// The expected result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// This value; `HOME!` stands for the home folder.
    Is(&'static str),
    /// An error that names the setting, its source (in a file with this line) and this word, and never the word
    /// seSame, which is part of the secrets.
    Refused(usize, &'static str),
}

use Expected::{Is, Refused};

/// This way the row's case can't occur.
pub(crate) const NONE: &str = "\0";

const fn row(
    what: &'static str,
    name: &'static str,
    [environment, dotenv, yaml]: [&'static str; 3],
    expected: Expected,
) -> Row {
    Row { what, name, environment, dotenv, yaml, expected }
}

macro_rules! same {
    ($what:literal, $name:literal, $text:literal, $expected:expr) => {
        row(
            $what,
            $name,
            [$text, concat!($name, "=", $text), concat!($name, ": ", $text)],
            $expected,
        )
    };
}

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    // Quotes.
    same!("no quotes", "API_KEYS", "abcd-1234", Is("abcd-1234")),
    row("single quotes", "API_KEYS", ["abcd-1234", "API_KEYS='abcd-1234'", "api_keys: 'abcd-1234'"], Is("abcd-1234")),
    row("double quotes", "API_KEYS", ["abcd-1234", "API_KEYS=\"abcd-1234\"", "api_keys: \"abcd-1234\""], Is("abcd-1234")),
    row("a quote in the other quotes", "LOG_DIR", ["it's", "LOG_DIR=\"it's\"", "log_dir: \"it's\""], Is("it's")),
    row("double quotes in single ones", "LOG_DIR", ["a\"b", "LOG_DIR='a\"b'", "log_dir: 'a\"b'"], Is("a\"b")),
    row("an escaped quote", "LOG_DIR", ["a\"b", "LOG_DIR=\"a\\\"b\"", "log_dir: \"a\\\"b\""], Is("a\"b")),
    row("an escaped backslash", "LOG_DIR", ["a\\b", "LOG_DIR=\"a\\\\b\"", "log_dir: \"a\\\\b\""], Is("a\\b")),
    row("a backslash in single quotes", "LOG_DIR", ["a\\b", "LOG_DIR='a\\b'", "log_dir: 'a\\b'"], Is("a\\b")),
    same!("a backslash without quotes", "LOG_DIR", "a\\nb", Is("a\\nb")),
    same!("a quote inside of a word", "LOG_DIR", "it's-\"x\"", Is("it's-\"x\"")),
    row("no escape of double quotes", "LOG_DIR", [NONE, "LOG_DIR=\"C:\\models\"", "log_dir: \"C:\\models\""], Refused(3, "")),
    row("a quote never closed", "API_KEYS", [NONE, "API_KEYS=\"seSame-1234", NONE], Refused(3, "never closed")),
    row("text behind a quote", "API_KEYS", [NONE, "API_KEYS='seSame'-1234", NONE], Refused(3, "follows the '")),
    row("a comment behind a quote", "PORT", [NONE, "PORT='8001' # x", "port: '8001' # x"], Is("8001")),
    row("blanks in quotes", "PORT", ["  8001 ", "PORT=\"  8001 \"", "port: \"  8001 \""], Is("8001")),
    // Dollars.
    same!("a variable in a key", "API_KEYS", "pa$HOME-1234", Is("pa$HOME-1234")),
    same!("a variable in braces", "API_KEYS", "pa${HOME}-1234", Is("pa${HOME}-1234")),
    same!("two dollars", "API_KEYS", "$$abcd-1234", Is("$$abcd-1234")),
    row("a variable in double quotes", "API_KEYS", ["$HOME-1234", "API_KEYS=\"$HOME-1234\"", "api_keys: \"$HOME-1234\""], Is("$HOME-1234")),
    row("a default of a shell", "API_KEYS", ["${NO:-abcd1234}", "API_KEYS='${NO:-abcd1234}'", "api_keys: '${NO:-abcd1234}'"], Is("${NO:-abcd1234}")),
    same!("a path that begins with a variable", "LOG_DIR", "$HOME/logs", Refused(3, "not expanded")),
    same!("a path that begins with braces", "LOG_DIR", "${HOME}/logs", Refused(3, "not expanded")),
    same!("a folder that is called so", "LOG_DIR", "./$HOME", Is("./$HOME")),
    same!("a host that is a variable", "REDIS_URL", "redis://:seSame@${REDIS}:6379", Refused(3, "not expanded")),
    // Hashes.
    same!("a hash in a key", "API_KEYS", "ab#cd-1234", Is("ab#cd-1234")),
    row("a comment behind a value", "PORT", [NONE, "PORT=8001 # a comment", "port: 8001 # a comment"], Is("8001")),
    row("a comment in place of a value", "PORT", [NONE, "PORT= # a comment", "port: # a comment"], Is("8000")),
    row("a hash and blanks in quotes", "LOG_DIR", ["a # b", "LOG_DIR='a # b'", "log_dir: 'a # b'"], Is("a # b")),
    same!("a password with a hash", "REDIS_URL", "redis://:seSame#1@a:6379", Refused(3, "write %23")),
    row("a quoted password with a hash", "REDIS_URL", [NONE, "REDIS_URL='redis://:seSame#1@a'", "redis_url: 'redis://:seSame#1@a'"], Refused(3, "write %23")),
    same!("a password cut by a comment", "REDIS_URL", "redis://:seSame #1@a:6379", Refused(3, "password")),
    same!("a password with a slash", "REDIS_URL", "redis://:seSame/1@a:6379", Refused(3, "write %2F")),
    same!("an encoded password", "REDIS_URL", "redis://:pa%23ss@a:6379", Is("redis://:pa%23ss@a:6379")),
    // Byte order marks and line ends.
    row("a byte order mark", "PORT", [NONE, "\u{feff}PORT=8001", "\u{feff}port: 8001"], Is("8001")),
    row("a byte order mark before a comment", "PORT", [NONE, "\u{feff}# x\nPORT=8001", "\u{feff}# x\nport: 8001"], Is("8001")),
    row("line ends of Windows", "PORT", ["8001\r", "A=1\r\nPORT=8001\r\nB=2\r", "log_dir: x\r\nport: 8001\r\n"], Is("8001")),
    row("and quotes", "PORT", [NONE, "PORT='8001'\r\nB=2\r", "port: '8001'\r\nlog_dir: x\r"], Is("8001")),
    row("a refusal behind line ends of Windows", "PORT", [NONE, "A=1\r\nPORT=x\r", "log_dir: x\r\nport: x\r"], Refused(4, "0 to 65535")),
    // Capitals.
    row("a name in capitals", "PORT", ["8001", "PORT=8001", "PORT: 8001"], Is("8001")),
    row("a name in some capitals", "PORT", [NONE, NONE, "Port: 8001"], Is("8001")),
    row("a name in small letters", "PORT", [NONE, "port=8001", NONE], Refused(3, "did you mean PORT")),
    same!("a word in capitals", "LOG_FORMAT", "JSON", Is("json")),
    same!("another", "LOG_FORMAT", "Text", Is("text")),
    same!("true in capitals", "WEBHOOK_ALLOW_PRIVATE", "True", Is("true")),
    same!("false in capitals", "WEBHOOK_ALLOW_PRIVATE", "FALSE", Is("false")),
    same!("yes is not true", "WEBHOOK_ALLOW_PRIVATE", "yes", Refused(3, "true or false")),
    same!("a device in capitals", "MODEL_DEVICE", "CPU", Is("Named { gpus: [], cpu: true }")),
    same!("a level in capitals", "LOG_LEVEL", "WARNING", Is("warn")),
    same!("this machine", "HOST", "localhost", Is("127.0.0.1")),
    same!("this machine in capitals", "HOST", "LOCALHOST", Is("127.0.0.1")),
    row("an address in brackets", "HOST", ["[::1]", "HOST=[::1]", "host: '[::1]'"], Is("::1")),
    same!("a host that has to be looked up", "HOST", "example.org", Refused(3, "localhost")),
    // Numbers.
    same!("a key of digits", "API_KEYS", "0123456789", Is("0123456789")),
    same!("a key like a float", "API_KEYS", "1e500000", Is("1e500000")),
    same!("a key like a hex number", "API_KEYS", "0x1234567", Is("0x1234567")),
    same!("a key with a point", "ADMIN_API_KEY", "12345678.0", Is("12345678.0")),
    same!("a key like a date", "ADMIN_API_KEY", "2025-11-21", Is("2025-11-21")),
    same!("a token like a boolean", "HF_TOKEN", "yes", Is("yes")),
    row("a token that is called null", "HF_TOKEN", ["null", "HF_TOKEN=null", "hf_token: 'null'"], Is("null")),
    same!("a number with a zero", "PORT", "08001", Is("8001")),
    same!("a number with a point", "PORT", "8001.0", Refused(3, "0 to 65535")),
    same!("a number with an exponent", "PORT", "1e3", Refused(3, "0 to 65535")),
    same!("a number with an underscore", "PORT", "8_001", Refused(3, "0 to 65535")),
    same!("a hex number", "KV_TOKENS", "0x1000", Refused(3, "256 to")),
    same!("a number out of range", "PORT", "70000", Refused(3, "0 to 65535")),
    same!("a negative number", "PORT", "-1", Refused(3, "0 to 65535")),
    same!("a number too large for any type", "MAX_MODEL_BYTES", "99999999999999999999999", Refused(3, "1048576 to")),
    // Empty.
    row("nothing", "PORT", ["", "PORT=", "port:"], Is("8000")),
    row("blanks", "PORT", ["  ", "PORT=  ", "port:  "], Is("8000")),
    row("empty quotes", "PORT", ["", "PORT=''", "port: \"\""], Is("8000")),
    row("null", "PORT", [NONE, NONE, "port: null"], Is("8000")),
    row("a tilde", "KV_TOKENS", [NONE, NONE, "kv_tokens: ~"], Is("unset")),
    row("an empty list", "API_KEYS", [NONE, NONE, "api_keys: []"], Is("")),
    // Duplicates.
    row("twice", "PORT", [NONE, "PORT=8001\nPORT=8002", "port: 8001\nport: 8002"], Refused(4, "line 3 already")),
    row("twice the same", "API_KEYS", [NONE, "API_KEYS=seSame-1\nAPI_KEYS=seSame-1", "api_keys: seSame-1\napi_keys: seSame-1"], Refused(4, "line 3 already")),
    row("twice in different letters", "PORT", [NONE, NONE, "port: 8001\nPORT: 8002"], Refused(4, "line 3 already")),
    row("once empty", "PORT", [NONE, "PORT=\nPORT=8001", "port:\nport: 8001"], Is("8001")),
    // Lists.
    row("a list", "API_KEYS", ["ab-123456, cd-123456", "API_KEYS=ab-123456,cd-123456", "api_keys:\n- ab-123456\n- cd-123456"], Is("ab-123456|cd-123456")),
    row("a list of digits", "API_KEYS", ["01234567,1e500000", "API_KEYS=01234567,1e500000", "api_keys: [01234567, 1e500000]"], Is("01234567|1e500000")),
    row("a list with empty items", "API_KEYS", [",ab-123456,,", "API_KEYS=,ab-123456,", "api_keys: ['', ab-123456, ~]"], Is("ab-123456")),
    row("an item with a comma", "API_KEYS", [NONE, NONE, "api_keys: ['seSame-1,seSame-2']"], Refused(3, "comma in item 1")),
    row("a list for a single value", "ADMIN_API_KEY", [NONE, NONE, "admin_api_key: [seSame-12, seSame-34]"], Refused(3, "is a list")),
    row("a map for a single value", "PORT", [NONE, NONE, "port: {a: 1}"], Refused(3, "single value")),
    row("an alias", "HOST", [NONE, NONE, "host: *"], Refused(3, "")),
    row("two lines", "LOG_DIR", ["a\nb", "LOG_DIR='a\nb'", "log_dir: |\n  a\n  b"], Refused(3, "line break")),
    // Names.
    row("a misspelled name", "PORT", [NONE, "PROT=8001", "prot: 8001"], Refused(3, "did you mean port")),
    row("one letter missing", "API_KEYS", [NONE, "API_KEY=seSame-1234", "api_key: seSame-1234"], Refused(3, "did you mean api_keys")),
    row("beside the right one", "API_KEYS", [NONE, "API_KEY=foreign-1\nAPI_KEYS=abcd-1234", NONE], Is("abcd-1234")),
    row("with a hyphen", "REDIS_URL", [NONE, "REDIS-URL=redis://:seSame@a", "redis-url: redis://:seSame@a"], Refused(3, "did you mean redis_url")),
    row("other programs' names", "PORT", [NONE, "POST=1\nDEBUG=$PORT\nPORT=8001", NONE], Is("8001")),
    row("a line that is none", "NAME", [NONE, "PORT=8001\nseSame", NONE], Refused(4, "NAME=value")),
    row("exported", "PORT", [NONE, "export PORT=8001", NONE], Is("8001")),
    row("blanks around the sign", "PORT", [NONE, "  PORT =\t8001", "port :  8001"], Is("8001")),
    // Paths.
    same!("the home folder", "LOG_DIR", "~/logs", Is("HOME!/logs")),
    same!("a model in it", "MODEL_NAME", "demo,~/m.gguf", Is("demo|HOME!/m.gguf")),
    same!("an adapter in it", "LORA_ADAPTERS", "sql=~/sql", Is("sql=HOME!/sql")),
    same!("another's home folder", "LOG_DIR", "~bob/logs", Refused(3, "another user's")),
    same!("a tilde elsewhere", "LOG_DIR", "a/~/b~", Is("a/~/b~")),
];

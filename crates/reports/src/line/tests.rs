//! Tests the parser against the contract, and against hostile lines.

use super::*;

const SUCCESS: &str = "[2025-11-21 15:30:45] task_id=0192 status=success prompt_tokens=50 completion_tokens=200 tokens_per_sec=34.48 queue_wait=2.30s processing_time=5.80s total_time=8.10s";

fn read(line: &str) -> Result<Line<'_>, Malformed> {
    parse(line.as_bytes(), &mut Clock::default())
}

#[test]
fn lines_of_the_contract_are_parsed() {
    let line = read(SUCCESS).unwrap();
    assert_eq!((line.at, &*line.task_id.decode()), (1_763_739_045, "0192"));
    assert_eq!(line.status, Status::Success);
    assert_eq!((line.prompt_tokens, line.completion_tokens), (Some(50), Some(200)));
    assert_eq!((line.tokens_per_sec, line.queue_wait), (Some(3_448), Some(230)));
    assert_eq!((line.processing_time, line.total_time), (Some(580), Some(810)));
    assert_eq!((line.cached_tokens, line.model, line.owner), (None, None, None));

    let longer =
        format!("{SUCCESS} cached_tokens=32 model=Qwen/Qwen3 owner=ab12 note=\"a b\" later=1");
    let line = read(&longer).unwrap();
    assert_eq!((line.cached_tokens, line.model.unwrap().raw), (Some(32), &b"Qwen/Qwen3"[..]));
    assert_eq!(&*line.owner.unwrap().decode(), "ab12");

    assert!(!line.is_cached);
    let cached = format!("{SUCCESS} cached_tokens=50 model=a owner=b result_cache=hit");
    assert!(read(&cached).unwrap().is_cached);

    let line = read("[2025-11-21 15:31:12] task_id=0193 status=error error_message=\"CUDA out of memory\" queue_wait=0.50s processing_time=3.20s total_time=3.70s").unwrap();
    assert_eq!(&*line.error_message.unwrap().decode(), "CUDA out of memory");
    assert_eq!((line.status, line.total_time), (Status::Error, Some(370)));
}

#[test]
fn escapes_are_decoded_and_the_first_of_equal_names_counts() {
    let line = read("[2025-11-21 15:31:12] task_id=a status=error error_message=\"x\\\" status\\u003dsuccess\\n\\u2028 \\\\\" queue_wait=0.50s status=success queue_wait=9.00s").unwrap();
    assert_eq!(line.error_message.unwrap().decode(), "x\" status=success\n\u{2028} \\");
    assert_eq!(line.error_message.unwrap().bytes(), "x\" status=success\n\u{2028} \\".as_bytes());
    assert_eq!((line.status, line.queue_wait), (Status::Error, Some(50)));
}

#[test]
fn bytes_that_are_not_utf8_do_not_make_a_line_malformed() {
    let line = b"[2025-11-21 15:31:12] task_id=a status=error error_message=\"\xff\\n\xfe\" total_time=1.00s";
    let line = parse(line, &mut Clock::default()).unwrap();
    assert_eq!(line.error_message.unwrap().decode(), "\u{fffd}\n\u{fffd}");
    assert_eq!(line.total_time, Some(100));
}

#[test]
fn malformed_lines_have_a_reason() {
    let rest = |fields: &str| format!("[2025-11-21 15:31:12] {fields}");
    let cases = [
        (String::new(), Malformed::Empty),
        ("hello".into(), Malformed::Time),
        ("[yesterday] task_id=a status=success".into(), Malformed::Time),
        ("[2025-11-21 15:31:12]".into(), Malformed::Time),
        ("[2025-11-21 15:31".into(), Malformed::Time),
        (rest(""), Malformed::Missing("task_id")),
        (rest("task_id=a"), Malformed::Missing("status")),
        (rest("status=success"), Malformed::Missing("task_id")),
        (rest("task_id=a status=done"), Malformed::Status),
        (rest("task_id=a status=error error_message=\"torn"), Malformed::Quoted),
        (rest("task_id=a status=error error_message=\"torn\\"), Malformed::Quoted),
        (rest("task_id=a status=error error_message=\"torn\\\""), Malformed::Quoted),
        (rest("task_id=a status=error error_message=\"\\x\""), Malformed::Quoted),
        (rest("task_id=a status=error error_message=\"a\tb\""), Malformed::Quoted),
        (rest("task_id=a status=error error_message=\"x\"y=1"), Malformed::Fields),
        (rest("task_id=a status=success =1"), Malformed::Fields),
        (rest("task_id=a status=success word"), Malformed::Fields),
        (rest("task_id=a status=success  total_time=1.00s"), Malformed::Fields),
        (rest("task_id=a status=success queue_wait=8.1"), Malformed::Number("queue_wait")),
        (rest("task_id=a status=success total_time=-1.00s"), Malformed::Number("total_time")),
        (rest("task_id=a status=success total_time=NaNs"), Malformed::Number("total_time")),
        (rest("task_id=a status=success total_time=1.s"), Malformed::Number("total_time")),
        (rest("task_id=a status=success prompt_tokens=1.5"), Malformed::Number("prompt_tokens")),
        (
            rest("task_id=a status=success prompt_tokens=99999999999999999999"),
            Malformed::Number("prompt_tokens"),
        ),
        (rest(&"x".repeat(MAX_LINE)), Malformed::TooLong),
    ];
    for (line, expected) in cases {
        assert_eq!(read(&line).err(), Some(expected), "{}", &line[..line.len().min(100)]);
    }
}

#[test]
fn decimals_are_read_as_hundredths() {
    let numbers =
        ["0.00", "12", "1.5", "1.999", "1.994", "123456789.01"].map(|n| hundredths(n.as_bytes()));
    assert_eq!(numbers, [0, 1_200, 150, 200, 199, 12_345_678_901].map(Some));
    for wrong in ["", ".", ".5", "1.", "1..0", "1e3", "+1.00", "99999999999999999.00", "1,00"] {
        assert_eq!(hundredths(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn fields_in_the_usual_order_are_read_as_in_any_other() {
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    let mut random = rand::rngs::StdRng::seed_from_u64(3);
    let values: [(&str, &[&str]); 10] = [
        ("task_id", &["0192", "a b", "", "\"x\""]),
        ("status", &["success", "error", "\"success\"", "succ"]),
        ("prompt_tokens", &["50", "007", "1234567890123456789", "5x", "\"5\"", "-1"]),
        ("completion_tokens", &["200", "", "1.5"]),
        (
            "tokens_per_sec",
            &["34.48", "34", "1.999", "34.4x", "99999999999999999.99", "000000000000000001.00"],
        ),
        ("queue_wait", &["2.30s", "2.3s", "2.30", "s", "2.305s"]),
        ("processing_time", &["5.80s", "5.80ss"]),
        ("total_time", &["8.10s", "\"8.10s\""]),
        ("model", &["demo", "\"a\\\"b\"", "\"torn"]),
        ("owner", &["o1", "a=b"]),
    ];
    let (mut same, mut refused) = (0, 0);
    for _ in 0..20_000 {
        // Most values are the first; some fields are missing.
        let mut fields: Vec<String> = Vec::new();
        for (name, values) in values {
            let other = random.random_ratio(1, 20);
            let nth = if other { random.random_range(0..values.len()) } else { 0 };
            if !random.random_ratio(1, 20) {
                fields.push(format!("{name}={}", values[nth]));
            }
        }
        let line = |fields: &[String]| format!("[2025-11-21 15:30:45] {}", fields.join(" "));
        let (usual, unknown_first) =
            (line(&fields), line(&[&["x=1".to_owned()], &fields[..]].concat()));
        // An unknown field in front keeps the fast path from taking anything.
        assert_eq!(read(&usual), read(&unknown_first), "{usual}");
        fields.shuffle(&mut random);
        let shuffled = line(&fields);
        match (read(&usual), read(&shuffled)) {
            (Ok(usual), other) => {
                same += 1;
                assert_eq!(Ok(usual), other, "{shuffled}");
            }
            (Err(_), other) => {
                refused += 1;
                assert!(other.is_err(), "{shuffled}");
            }
        }
    }
    assert!(same > 5_000 && refused > 1_000, "{same}, {refused}");
}

/// The slow parser that these tests compare with: splits a line as its documentation says.
fn slow(line: &str) -> Option<Vec<(String, String)>> {
    let (_, mut rest) = line.strip_prefix('[')?.split_once("] ")?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (name, tail) = rest.split_once('=')?;
        let (value, tail) = if tail.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(tail).into_iter::<String>();
            let value = values.next()?.ok()?;
            (value, &tail[values.byte_offset()..])
        } else {
            let end = tail.find(' ').unwrap_or(tail.len());
            (tail[..end].to_owned(), &tail[end..])
        };
        fields.push((name.to_owned(), value));
        rest = if tail.is_empty() { tail } else { tail.strip_prefix(' ')? };
    }
    Some(fields)
}

#[test]
fn random_messages_are_read_as_a_slow_parser_reads_them() {
    use rand::{Rng, SeedableRng};
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    let alphabet: Vec<char> = "ab \"\\=u003dn{}[]]/é\u{2028}😀\u{1}".chars().collect();
    let (mut read_lines, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let length = random.random_range(0..12);
        let text: String =
            (0..length).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect();
        // As a JSON string, or as it is, which often breaks the line.
        let value = if random.random() {
            serde_json::to_string(&text).unwrap()
        } else {
            format!("\"{text}\"")
        };
        let line = format!(
            "[2025-11-21 15:31:12] task_id=a status=error error_message={value} total_time=1.00s"
        );
        match (read(&line), slow(&line)) {
            (Ok(found), Some(fields)) => {
                read_lines += 1;
                let message = found.error_message.unwrap().decode();
                assert_eq!(message, fields[2].1, "{line}");
            }
            (Err(_), None) => refused += 1,
            // The slow parser takes any name.
            (Err(Malformed::Fields), Some(_)) => refused += 1,
            (fast, slow) => panic!("{line}: {fast:?}, {slow:?}"),
        }
    }
    assert!(read_lines > 5_000 && refused > 1_000, "{read_lines}, {refused}");
}

use super::*;

fn options() -> Options {
    Options::new(vec!["a-key-of-the-tests".into()], protocol::ModelId::new("demo"))
}

fn problems(text: &str) -> Vec<String> {
    check(text, &options()).unwrap_err()
}

const WHOLE: &str = r#"
[[task]]
name = "nightly-report"
cron = "0 3 * * *"
timezone = "Europe/Oslo"
owner = "acme"
missed = "all"
max_missed = 7
grace_s = 300
jitter_s = 30
enabled = false

[task.request]
messages = [{ role = "user", content = "Summarize the day." }]
model = "a-model-without-a-worker"
max_tokens = 100
temperature = 0.5
metadata = { department = "sales" }

[[task]]
name = "objects"
cron = "@hourly"
key = "key_01a2286845e77370aad3be71dafcafb2"
skill = "ocr"
request = { images = ["data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="] }
"#;

#[test]
fn all_fields_are_read() {
    let timetable = check(WHOLE, &options()).unwrap();
    let [report, objects] = timetable.entries() else { panic!("{timetable:?}") };
    assert_eq!(report.name, "nightly-report");
    assert_eq!((report.timing.expression(), report.timing.zone()), ("0 3 * * *", "Europe/Oslo"));
    assert_eq!(report.payer, Payer::Owner(TenantId::new("acme")));
    assert_eq!((report.missed, report.max_missed), (Missed::All, 7));
    assert_eq!((report.grace, report.jitter_s), (Duration::from_secs(300), 30));
    assert!(!report.enabled && report.skill.is_none());
    assert_eq!(report.request["max_tokens"], 100);
    assert_eq!(objects.skill.as_deref(), Some("ocr"));
    let key = KeyId::from_text("key_01a2286845e77370aad3be71dafcafb2");
    assert_eq!(objects.payer, Payer::Key(key));
    assert_eq!((objects.missed, objects.max_missed, objects.jitter_s), (Missed::Skip, 10, 0));
    assert!(objects.enabled && objects.grace == Duration::from_secs(60));
    assert_eq!(objects.timing.zone(), "UTC");
    assert!(check("", &options()).unwrap().is_empty());
}

#[test]
fn every_problem_is_listed_with_its_line() {
    let text = r#"# a comment
[[task]]
name = "a b"
cron = "61 * * * *"
timezone = "Mars/Olympus"
owner = "acme"
missed = "twice"
grace_s = 0
cronn = ""
request = "hello"

[[task]]
name = "two"
cron = "@daily"
owner = "acme"
key = "key_1"
max_missed = 3
request = { prompt = "x" }

[[task]]
name = "two"
cron = "@daily"
owner = "acme"
request = { prompt = "", max_tokenz = 5, run_at = 1, metadata = { schedule = "x" } }

[[task]]
name = "four"
cron = "@daily"
request = { prompt = "x" }

[[task]]
name = "five"
cron = "@daily"
owner = "acme"
skill = "telepathy"
request = { prompt = "x" }
"#;
    let found = problems(text);
    let expected = [
        "line 2: 'a b': cronn: unknown field 'cronn'; did you mean 'cron'?",
        "line 2: 'a b': name: must have 1 to 64 letters",
        "line 2: 'a b': timezone: unknown time zone 'Mars/Olympus'",
        "line 2: 'a b': cron: '61 * * * *' is not a cron expression",
        "line 2: 'a b': request: expected a table",
        "line 2: 'a b': missed: must be one of skip, once, all, got 'twice'",
        "line 2: 'a b': grace_s: must be an integer from 1 to 86400, got 0",
        "line 12: 'two': key: give either owner or key",
        "line 12: 'two': max_missed: only with missed",
        "line 20: 'two': name: the task of line 12 has the same name",
        "line 20: 'two': request.run_at: a periodic task has no fixed time",
        "line 20: 'two': request.metadata.schedule: this entry is set",
        "line 20: 'two': request.max_tokenz: unknown field 'max_tokenz'; did you mean 'max_tokens'?",
        "line 20: 'two': request.prompt: the prompt is empty",
        "line 26: 'four': owner: this field is required",
        "line 31: 'five': skill: there is no skill 'telepathy'. Available: ",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn files_that_are_not_of_this_form_are_refused() {
    assert!(problems("[[task]]\nname = \n")[0].starts_with("line 2: "));
    assert!(problems("[[tasks]]\nname = \"a\"\n")[0].contains("unknown field `tasks`"));
    let error = read(Some(Path::new("/nowhere/schedule.toml")), &options()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("/nowhere/schedule.toml (SCHEDULE_FILE)") && text.contains("can't be read"),
        "{text}"
    );
    assert_eq!(read(None, &options()).unwrap(), Timetable::default());
}

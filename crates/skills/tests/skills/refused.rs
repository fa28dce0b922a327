use skills::Skill;

use crate::GREETING;

#[test]
fn a_file_is_refused_with_line_and_reason() {
    for (from, to, line, reason) in [
        ("name = \"greeting\"", "name = \"Greeting!\"", 1, "small letters"),
        ("title = \"Greet\"", "title = \"\"", 2, "1 to 80 characters"),
        ("title = \"Greet\"", "titel = \"Greet\"", 2, "unknown field `titel`"),
        ("title = \"Greet\"", "title = Greet", 2, ""),
        ("type = \"text\"", "type = \"words\"", 6, "unknown variant `words`"),
        (
            "type = \"text\"",
            "type = \"text\"\nchoices = [\"a\"]",
            5,
            "choices belong to the type choice",
        ),
        ("type = \"text\"", "type = \"integer\"\ndefault = \"a\"", 5, "expected a whole number"),
        ("type = \"text\"", "type = \"number\"\nmin = 3\nmax = 2", 5, "min must not exceed max"),
        ("fields.who", "fields.temperature", 5, "all requests have a field of this name"),
        ("fields.who", "fields.Who", 5, "begin with a letter"),
        ("{{ who }}", "{{ whom }}", 11, "prompt.user: undefined value"),
        ("{{ who }}", "{% if %}", 11, "prompt.user"),
        ("{{ prompt }}", "{{ prompt | wide }}", 12, "prompt.user"),
        (
            "{{ prompt }}",
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
            12,
            "fuel",
        ),
        (
            "[prompt]",
            "[answer]\noutput = \"poem\"\n[prompt]",
            10,
            "'poem' is no output: expected one of text, json",
        ),
        ("[prompt]", "[answer]\noutput = \"actions\"\n[prompt]", 10, "must list them"),
        ("[prompt]", "[answer]\nschema = '''\n{\n'''\n[prompt]", 11, "not JSON"),
        ("[prompt]", "[answer]\nscale = 0\n[prompt]", 10, "1 to 100,000"),
        ("[prompt]", "[answer]\ncommand = \"../run\"\n[prompt]", 10, "SKILL_COMMANDS"),
        ("[prompt]", "[sampling]\ntemperature = 9\n[prompt]", 10, "must be from 0 to 2"),
        ("[prompt]", "[sampling]\nheat = 1\n[prompt]", 10, "is no parameter"),
        ("[prompt]", "[sampling]\nmax_tokens = 1.5\n[prompt]", 10, "whole number"),
        ("[prompt]", "[input]\nimages = [3, 1]\n[prompt]", 10, "[least, most]"),
        ("[prompt]", "[pixels]\nmin_pixels = 9\nmax_pixels = 1\n[prompt]", 9, "must not exceed"),
        (
            "[prompt]",
            "[example]\nprompt = \"x\"\n[prompt]",
            9,
            "example: who: this field is required",
        ),
    ] {
        assert!(GREETING.contains(from), "{from}");
        let text = GREETING.replace(from, to);
        let error = Skill::parse(&text).expect_err(to);
        assert_eq!(error.line, line, "{to}: {error}");
        assert!(error.message.contains(reason), "{to}: {error}");
        assert!(!error.message.contains('\n'), "{error}");
    }
    Skill::parse(GREETING).unwrap();
}

#[test]
fn a_choice_that_breaks_the_template_is_found() {
    let text = GREETING
        .replace("type = \"text\"", "type = \"choice\"\nchoices = [\"you\", \"me\"]")
        .replace("{{ who }}", "{% if who == \"me\" %}{{ nothing }}{% endif %}");
    let error = Skill::parse(&text).unwrap_err();
    assert_eq!(error.line, 12);
}

#[test]
fn a_file_has_a_size() {
    let text = format!("{GREETING}# {}", "x".repeat(300_000));
    assert!(Skill::parse(&text).unwrap_err().message.contains("at most 262144"));
}

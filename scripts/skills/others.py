"""Answers with JSON, events and actions."""

import json

from answers import CUT, SCENES, Scene, WORDS, broken, plain, python, record, repaired, ways_to_write

NONE = Scene("qwen3-vl", (640, 480), (640, 480))


def of_json():
    forms = [
        {"company": "Müller & Co", "date": "2024-05-01", "total": "12.50"},
        {"公司": "阿里", "address": {"street": "A 1", "zip": "0123"}, "lines": ["x", "y"]},
        {"count": 3, "is_paid": True, "note": None},
        {"name": "it's", "amounts": [1.5, 2, -3]},
    ]
    for form in forms:
        text = plain(form)
        single = [repaired("single quotes")] + []
        literals = any(value is True or value is None for value in form.values())
        in_python = [repaired("single quotes", "Python's literals")] if literals else single
        for note, written, warnings in [
            ("whole", text, []),
            ("fence", f"```json\n{text}\n```", []),
            ("indented", json.dumps(form, indent=2, ensure_ascii=False), []),
            ("fence in one line", f"```json {text}```", []),
            ("fence without a language", f"```\n{text}\n```", []),
            ("fence without an end", f"```json\n{text}", []),
            ("words around", f"The result:\n```json\n{text}\n```\nAll fields are filled.", [WORDS]),
            ("words before", f"Here it is: {text}", [WORDS]),
            ("reasoning", f"<think>a {{form}}</think>{text}", []),
            ("Python", python(form), in_python),
            ("trailing comma", text[:-1] + ",}", [repaired("trailing commas")]),
            ("missing bracket", text[:-1], [repaired("missing brackets")]),
            ("comment", text[:-1] + " // end\n}", [repaired("comments")]),
            ("superfluous bracket", text + "}", [repaired("brackets without a beginning")]),
            ("JSON in a string", json.dumps(text), [repaired("escaped JSON")]),
            ("escaped quotes", text.replace('"', '\\"'), [repaired("escaped JSON")]),
            ("special token", text + "<|endoftext|>", []),
        ]:
            yield record(f"form: {note}", NONE, written, form, warnings)
        yield record("two forms", NONE, f"{text}\n{text}", [form, form], [repaired("several values in a row")])
        yield record("cut form", NONE, text[:-1] + ', "more": "te', form, [CUT])
        yield record("cut form", NONE, text[:-1] + ', "mo', form, ["limit of tokens", CUT], cut=True)
        yield record("cut form", NONE, text[:-1] + ', "more": 1', form, [CUT])
    lists = [
        [{"bbox_2d": [1, 2, 3, 4], "text_content": "Hello"}, {"bbox_2d": [5, 6, 7, 8], "text_content": "World"}],
        [{"name_en": "Eiffel Tower", "name_zh": "埃菲尔铁塔"}, {"name_en": "Louvre", "name_zh": "卢浮宫"}],
    ]
    for items in lists:
        for name, text, count, warnings, is_cut, *added in ways_to_write(items):
            expected = [{**item, **(added[0] if added else {})} for item in items[:count]]
            if name == "lists in a row" or name == "a fence for each":
                expected = [[item] for item in expected]
            if name == "wrapped":
                expected = {"objects": expected}
            yield record(f"list: {name}", NONE, text, expected, warnings)
    for text, expected, warnings in [
        ('{"a": 1}', {"a": 1}, []),
        ("[1, 2, 3]", [1, 2, 3], []),
        ("42", 42, []),
        ("true", True, []),
        ('"text"', "text", []),
        ("null", None, []),
        ("{}", {}, []),
        ("[]", [], []),
        ('{"a": }', {"a": None}, [repaired("missing values")]),
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}, [repaired("missing commas")]),
        ('{"a": NaN}', {"a": None}, [repaired("numbers that JSON does not have")]),
        ('{"a": .5, "b": +3, "c": 007}', {"a": 0.5, "b": 3, "c": 7}, [repaired("numbers that are not JSON's")]),
        ('{"a": hello world}', {"a": "hello world"}, [repaired("text without quotes")]),
        ('{"a": "x\ty"}', {"a": "x\ty"}, [repaired("line breaks inside strings")]),
        ('{"a": "\\u4f60\\ud83d\\ude00",}', {"a": "你😀"}, [repaired("trailing commas")]),
        ('{"a": "\\ud83d",}', {"a": "\ufffd"}, [repaired("trailing commas")]),
        ('{"a": "\\u12"}', {"a": "\\u12"}, [repaired("unknown escapes in strings")]),
        ('{"a": [1, 2}', {"a": [1, 2]}, [repaired("missing brackets")]),
        ('{"pages": [{"items": [{"a": 1}, {"a": 2}, {"a"', {"pages": [{"items": [{"a": 1}, {"a": 2}]}]}, [CUT]),
        ("['a', 'b'", ["a", "b"], [repaired("single quotes", "missing brackets")]),
        ("[1, 2, 3", [1, 2], [CUT]),
        ("The total is 12.50.", None, ["no JSON was found"]),
        ("", None, ["no JSON was found"]),
        ("{", None, ["no JSON was found"]),
        ("```json\n```", None, ["no JSON was found"]),
        ("<think>{\"a\": 1}", None, ["ends within its reasoning"]),
    ]:
        yield record("by hand", NONE, text, expected, warnings)


def clock(seconds):
    return f"{int(seconds // 60):02}:{seconds % 60:05.2f}"


def of_events():
    spans = [(0.0, 4.5, "A door opens."), (25.0, 46.0, "A man in a red coat runs."), (61.25, 125.5, "他挥手")]
    items = [{"start_time": clock(a), "end_time": clock(b), "description": text} for a, b, text in spans]
    expected = [dict(item, start_s=a, end_s=b) for item, (a, b, _) in zip(items, spans)]
    for scene in SCENES[1:4]:
        yield from broken(f"events of {scene.family}", scene, items, expected)
    start, end = 61.25, 125.5
    times = [
        ("01:01.25", "02:05.50"),
        ("00:01:01.25", "00:02:05.5"),
        ("61.25", "125.5"),
        (61.25, 125.5),
        ("61.25s", "125.5s"),
        ("61.25 seconds", "125.50 seconds"),
        ("<61.25 seconds>", "<125.5 seconds>"),
        ("1m1.25s", "2m5.5s"),
        ("01:01,25", "02:05,50"),
    ]
    seconds = {"start_s": start, "end_s": end}
    for first, second in times:
        for a, b in [("start_time", "end_time"), ("start", "end"), ("start_timestamp", "end_timestamp")]:
            item = {a: first, b: second, "description": "x"}
            yield record("times by two keys", NONE, plain([item]), [{**item, **seconds}])
        item = {"start_time": second, "end_time": first}
        yield record("swapped", NONE, plain([item]), [{**item, **seconds}], ["ended before it started"])
        for key in ["timestamp", "time", "segment"]:
            item = {key: [first, second], "event": "x"}
            yield record("a list of times", NONE, plain([item]), [{**item, **seconds}])
        if isinstance(first, str):
            span = f"{first} - {second}"
            keyed = [{"time": span, "description": "x", **seconds}]
            yield record("times as a key", NONE, plain({span: "x"}), keyed)
            yield record("times as a key, Python", NONE, python({span: "x"}), keyed, [repaired("single quotes")])
            yield record("times as a key, cut", NONE, plain({span: "x"})[:-1] + ', "02:0', keyed, [CUT])
            item = {"time_range": f"{first} to {second}", "description": "x"}
            yield record("times in a text", NONE, plain([item]), [{**item, **seconds}])
            item = {"start": first}
            yield record("a moment", NONE, plain([item]), [{**item, "start_s": start, "end_s": start}])
    for text, found, warnings in [
        ("00:05 - 00:12: A door opens.", [("00:05 - 00:12", "A door opens.", 5, 12)], []),
        ("- <5.0 seconds> - <12.0 seconds>: A door opens.", [("5.0 seconds> - <12.0 seconds", "A door opens.", 5, 12)], []),
        ("The event happens from 00:05 to 00:12.", [("00:05 to 00:12", "The event happens from 00:05 to 00:12.", 5, 12)], []),
        ("It occurs at 75.5 seconds.", [("75.5 seconds", "It occurs at 75.5 seconds.", 75.5, 75.5)], []),
        ("It occurs between 1:05 and 1:10", [("1:05 and 1:10", "It occurs between 1:05 and 1:10", 65, 70)], []),
        ("00:01 A\n00:02 B", [("00:01", "A", 1, 1), ("00:02", "B", 2, 2)], []),
        ("3.5 - 7.25 seconds", [("3.5 - 7.25 seconds", "", 3.5, 7.25)], []),
        ("5s–8s: rain", [("5s–8s", "rain", 5, 8)], []),
    ]:
        expected = [{"time": t, "description": d, "start_s": a, "end_s": b} for t, d, a, b in found]
        yield record("by hand: lines", NONE, text, expected, ["is no JSON", *warnings])
    for text in ["Nothing happens.", "", "There are 3 people and 2 dogs.", "{", "```json\n"]:
        yield record("by hand: nothing", NONE, text, None, ["no events were found"])
    yield record("by hand: empty", NONE, "[]", [])
    for item, warning in [({"start_time": "soon"}, "has no time"), ({"description": "x"}, "has no time"), ({"time": [1, 2, 3]}, "has no time")]:
        yield record("by hand: no time", NONE, plain([item]), [item], [warning])
    for wrapper in ["events", "results"]:
        yield record("by hand: wrapped", NONE, plain({wrapper: items}), expected_of(items, spans))
    yield record("by hand: object alone", NONE, plain(items[0]), expected_of(items[:1], spans))
    yield record("by hand: range alone", NONE, "[5.5, 9]", [{"time": [5.5, 9], "start_s": 5.5, "end_s": 9}])
    yield record("by hand: ranges", NONE, "[[5, 9]]", [{"time": [5, 9], "start_s": 5, "end_s": 9}])
    for scene in SCENES:
        box = scene.raw_box(0.1, 0.2, 0.3, 0.4)
        item = {"time": 1.5, "bbox_2d": box, "label": "a"}
        pixels = {"pixels": {"box": scene.box(*box)}}
        yield record("time and box", scene, plain([item]), [{**item, "start_s": 1.5, "end_s": 1.5, **pixels}])


def expected_of(items, spans):
    return [dict(item, start_s=a, end_s=b) for item, (a, b, _) in zip(items, spans)]


COMPUTER = ["key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "double_click", "scroll", "wait", "terminate", "answer"]
MOBILE = ["click", "long_press", "swipe", "type", "answer", "system_button", "open", "wait", "terminate"]
LEFT_OUT = "is no call of a function"


def hermes(name, arguments):
    return f"<tool_call>\n{plain({'name': name, 'arguments': arguments})}\n</tool_call>"


def coder(name, arguments):
    parameters = "".join(
        f"<parameter={key}>\n{value if isinstance(value, str) else plain(value)}\n</parameter>\n" for key, value in arguments.items()
    )
    return f"<tool_call>\n<function={name}>\n{parameters}</function>\n</tool_call>"


def of_actions():
    for scene in SCENES:
        x, y = scene.at(0.5, 0.25)
        a, b = scene.at(0.9, 0.75)
        at, to = scene.point(x, y), scene.point(a, b)
        for name, actions, arguments, pixels in [
            ("computer_use", COMPUTER, {"action": "left_click", "coordinate": [x, y]}, {"coordinate": at}),
            ("computer_use", COMPUTER, {"action": "type", "text": "2024"}, None),
            ("computer_use", COMPUTER, {"action": "key", "keys": ["ctrl", "c"]}, None),
            ("computer_use", COMPUTER, {"action": "scroll", "pixels": -300, "coordinate": [x, y]}, {"coordinate": at}),
            ("mobile_use", MOBILE, {"action": "swipe", "coordinate": [x, y], "coordinate2": [a, b]}, {"coordinate": at, "coordinate2": to}),
            ("mobile_use", MOBILE, {"action": "system_button", "button": "Back"}, None),
            ("mobile_use", MOBILE, {"action": "long_press", "coordinate": [x, y], "time": 2}, {"coordinate": at}),
        ]:
            item = {"name": name, "arguments": arguments}
            if pixels:
                item["pixels"] = pixels
            json_text = plain({"name": name, "arguments": arguments})
            more = {"actions": actions}
            yield record("Hermes", scene, hermes(name, arguments), [item], **more)
            yield record("Coder", scene, coder(name, arguments), [item], **more)
            thought = {"thought": "I need the button.\nTap it.", **item}
            lines = f'Thought: I need the button.\nAction: "Tap it."\n{hermes(name, arguments)}'
            yield record("thought", scene, lines, [thought], **more)
            yield record("Python", scene, f"<tool_call>{python(json.loads(json_text))}</tool_call>", [item], [repaired("single quotes")], **more)
            yield record("no end", scene, f"<tool_call>\n{json_text}", [item], **more)
            yield record("missing bracket", scene, f"<tool_call>\n{json_text[:-1]}\n</tool_call>", [item], [repaired("missing brackets")], **more)
            cut = json_text[:-3] if arguments["action"] != "key" else json_text[:-5]
            yield record("cut", scene, f"<tool_call>\n{cut}", None, ["limit of tokens", CUT, LEFT_OUT, "no actions"], cut=True, **more)
            yield record("bare JSON", scene, json_text, [item], **more)
            text_arguments = plain({"name": name, "arguments": plain(arguments)})
            yield record("arguments in a text", scene, f"<tool_call>{text_arguments}</tool_call>", [item], **more)
            yield record("split off", scene, "", [item], calls=[{"name": name, "arguments": arguments}], **more)
        for action in ["rm", "format_disk", "Left_Click"]:
            bad = hermes("computer_use", {"action": action})
            yield record("unknown action", scene, bad, None, [f'the action "{action}" was left out: allowed are key, type'], actions=COMPUTER)
        good = {"name": "computer_use", "arguments": {"action": "wait", "time": 2}}
        both = hermes("computer_use", {"action": "rm"}) + "\n" + hermes("computer_use", good["arguments"])
        yield record("unknown and known", scene, both, [good], ['the action "rm"'], actions=COMPUTER)
    yield from actions_by_hand()


def actions_by_hand():
    screen = Scene("qwen3-vl", (1080, 2400), (1088, 2400), 999)
    seen = Scene("qwen2.5-vl", (1920, 1080), (960, 540))
    click = {"name": "mobile_use", "arguments": {"action": "click", "coordinate": [333, 999]}, "pixels": {"coordinate": [360, 2400]}}
    text = '{"name": "mobile_use", "arguments": {"action": "click", "coordinate": [333, 999]}}'
    yield record("by hand: tags", screen, f"<tool_call>{text}</tool_call>", [click], actions=MOBILE)
    yield record("by hand: fence", screen, f"```json\n{text}\n```", [click], actions=MOBILE)
    yield record("by hand: words", screen, f"I tap it. {text}", [{"thought": "I tap it.", **click}], actions=MOBILE)
    yield record("by hand: all actions", screen, text, [click])
    bare = {"name": "click", "arguments": {"action": "click", "coordinate": [333, 999]}, "pixels": {"coordinate": [360, 2400]}}
    yield record("by hand: arguments alone", screen, '{"action": "click", "coordinate": [333, 999]}', [bare], actions=MOBILE)
    drag = {"action": "drag", "start_coordinate": [0, 0], "end_coordinate": [480, 270]}
    expected = {"name": "computer", "arguments": drag, "pixels": {"start_coordinate": [0, 0], "end_coordinate": [960, 540]}}
    yield record("by hand: drag", seen, hermes("computer", drag), [expected])
    zoom = {"label": "sign", "bbox_2d": [100, 100, 200, 300], "img_idx": 0}
    expected = {"name": "image_zoom_in_tool", "arguments": zoom, "pixels": {"box": [108, 240, 216, 720]}}
    yield record("by hand: zoom", Scene("qwen3-vl", (1080, 2400), (1088, 2400)), hermes("image_zoom_in_tool", zoom), [expected], actions=["image_zoom_in_tool"])
    text_point = {"action": "click", "coordinate": "[333, 999]"}
    yield record("by hand: point as text", screen, hermes("mobile_use", text_point), [{**click, "arguments": text_point}], actions=MOBILE)
    off = {"action": "click", "coordinate": [1500, 0]}
    expected = {"name": "m", "arguments": off, "pixels": {"coordinate": [1080, 0]}}
    yield record("by hand: off the screen", screen, hermes("m", off), [expected], ["beyond the image"], actions=MOBILE)
    bad = {"action": "click", "coordinate": ["left"]}
    yield record("by hand: no point", screen, hermes("m", bad), [{"name": "m", "arguments": bad}], ["can't be read"], actions=MOBILE)
    for text in ["I am done.", "", "<tool_call></tool_call>", "<tool_call>hm</tool_call>", "<tool_call>[1]</tool_call>"]:
        warnings = ["no actions were found"] if "<" not in text else [LEFT_OUT, "no actions were found"]
        yield record("by hand: nothing", screen, text, None, warnings, actions=MOBILE)
    yield record("by hand: reasoning", screen, f"<think>I could call\n<tool_call>{text}", None, ["limit of tokens", "ends within its reasoning"], cut=True)
    half = "<tool_call>\n<function=mobile_use>\n<parameter=action>\ntype\n</parameter>\n<parameter=text>\nhel"
    yield record("by hand: cut parameter", screen, half, None, ["limit of tokens", LEFT_OUT, "no actions"], cut=True, actions=MOBILE)
    for half in [
        "<tool_call>\n<function=mobile_use>\n<parameter=action>\nclick\n</parameter>\n",
        '<tool_call>{"name": "mobile_use", "arguments": {"action": "click"',
    ]:
        brackets = [repaired("missing brackets")] if "{" in half else []
        yield record("by hand: cut between arguments", screen, half, None, ["limit of tokens", *brackets, LEFT_OUT, "no actions"], cut=True, actions=MOBILE)
        expected = {"name": "mobile_use", "arguments": {"action": "click"}}
        yield record("by hand: not cut", screen, half, [expected], brackets, actions=MOBILE)
    open_xml = "<function=mobile_use><parameter=action>wait</parameter><parameter=time>2</parameter></function>"
    yield record("by hand: no tags", screen, open_xml, [{"name": "mobile_use", "arguments": {"action": "wait", "time": 2}}], actions=MOBILE)
    malformed = [{"raw": '{"name": "mobile_use", "arguments": {"action": "wait", "time": 2}', "error": "x"}]
    expected = {"thought": "Wait.", "name": "mobile_use", "arguments": {"action": "wait", "time": 2}}
    yield record("by hand: malformed", screen, "Thought: Wait.", [expected], [repaired("missing brackets")], calls=malformed, actions=MOBILE)

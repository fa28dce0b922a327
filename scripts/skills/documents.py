"""Answers with HTML and Markdown of documents."""

from answers import SCENES, Scene, record

AROUND = "words outside of the HTML"
CUT = "ends within its HTML"


class Page:
    """Elements of a page: as the model writes them, cleaned, and read."""

    def __init__(self, scene):
        self.scene, self.raw, self.clean, self.elements, self.row = scene, [], [], [], 0

    def place(self):
        self.row += 1
        return self.scene.raw_box(0.1, 0.02 * self.row, 0.9, 0.02 * self.row + 0.015)

    def add(self, tag, text, inner=None, klass=None, clean=None, style=None):
        box = self.place()
        attributes = f' class="{klass}"' if klass else ""
        attributes += f' style="{style}"' if style else ""
        edges = " ".join(map(str, box))
        self.raw.append(f'<{tag}{attributes} data-bbox="{edges}">{inner or text}</{tag}>')
        self.clean.append(clean if clean is not None else f"<{tag}{attributes}>{inner or text}</{tag}>")
        element = {"tag": tag, "text": text, "bbox_2d": box, "pixels": {"box": self.scene.box(*box)}}
        if klass:
            element["class"] = klass
        self.elements.append(element)
        return self

    def html(self):
        return "<html><body>\n" + "\n".join(self.raw) + "\n</body></html>"

    def expected(self, count=None, clean=None):
        cleaned = clean if clean is not None else "\n".join(self.clean[:count])
        return {"html": f"<html><body>\n{cleaned}\n</body></html>", "elements": self.elements[:count]}


def pages(scene):
    plain = Page(scene).add("h1", "Annual report").add("p", "The year was good.").add("p", "利润增长。")
    table = Page(scene).add("h2", "Table 1")
    table.add("table", "A B 1 2", "<tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr>")
    table.add("p", "Source: us", style="text-align: right")
    formula = Page(scene).add("p", "Then").add(
        "div", "E = mc^2", klass="formula.machine_printed", clean='<div class="formula">E = mc^2</div>'
    )
    formula.add("div", "x_1", klass="formula handwritten")
    figures = Page(scene).add("div", "Figure 1: a cat", klass="image caption", clean='<div class="image"></div>')
    figures.add("div", "1,2 3,4", klass="chart", clean='<div class="chart"></div>')
    figures.add("div", "C6H6", klass="chemical formula", clean='<div class="chemical formula"></div>')
    figures.add("div", "X:1 K:C", klass="music sheet", clean='<div class="music sheet"></div>')
    colours = Page(scene).add("p", "red", style="color: red", clean="<p>red</p>")
    colours.add("h3", "bold", style="color:#ff0000;font-weight: bold", clean='<h3 style="font-weight: bold">bold</h3>')
    return {"text": plain, "table": table, "formulas": formula, "figures": figures, "colours": colours}


def of_html():
    for scene in SCENES:
        for name, page in pages(scene).items():
            html, whole = page.html(), page.expected()
            yield record(f"{name}: fence", scene, f"```html\n{html}\n```", whole)
            yield record(f"{name}: no fence", scene, html, whole)
            yield record(f"{name}: words around", scene, f"Here:\n```html\n{html}\n```\nDone.", whole, [AROUND])
            yield record(f"{name}: no html and body", scene, "\n".join(page.raw), whole)
            yield record(f"{name}: single quotes", scene, html.replace('"', "'"), whole)
            cut = "```html\n<html><body>\n" + "\n".join(page.raw[:-1]) + '\n<p data-bbox="12 3'
            limit = ["limit of tokens", CUT]
            yield record(f"{name}: cut in a tag", scene, cut, page.expected(len(page.raw) - 1), limit, cut=True)
            if name == "text":
                last = page.raw[-1][: -len("</p>")]
                unclosed = page.raw[0] + "\n" + page.raw[1].replace("</p>", "") + "\n" + page.raw[2].replace("</p>", "")
                joined = page.clean[0] + "\n" + page.clean[1].replace("</p>", "\n</p>") + page.clean[2]
                yield record("open paragraphs", scene, unclosed, page.expected(clean=joined))
                missing = page.html().replace('">利', ">利")
                yield record("missing quote", scene, missing, whole)
                yield record("reasoning", scene, f"<think>\nA page.\n</think>\n\n{html}", whole)
                yield record("open body", scene, "<html><body>\n" + "\n".join(page.raw[:2]) + "\n" + last, whole)
        for safe_name, raw, clean in [
            ("script", "<script>alert(1)</script>", ""),
            ("style", "<style>p{color:red}</style>", ""),
            ("handler", '<p onclick="alert(1)">a</p>', "<p>a</p>"),
            ("link", '<a href="javascript:alert(1)">a</a>', "<a>a</a>"),
            ("good link", '<a href="https://example.org/">a</a>', '<a href="https://example.org/">a</a>'),
            ("picture", '<img src="https://example.org/x.png" alt="a" onerror="alert(1)">', '<img alt="a">'),
            ("unknown element", "<blink>a</blink>", "a"),
            ("entities", "<p>a &lt;b&gt; &amp; c</p>", "<p>a &lt;b&gt; &amp; c</p>"),
            ("comment", "<p>a<!-- b --></p>", "<p>a</p>"),
            ("frame", '<p>a</p><iframe src="x"></iframe>', "<p>a</p>"),
        ]:
            warnings = ["scripts, styles and embedded"] if safe_name in ["script", "style", "frame"] else []
            text = f"<html><body>\n{raw}\n</body></html>"
            yield record(f"safe: {safe_name}", scene, text, {"html": f"<html><body>\n{clean}\n</body></html>", "elements": []}, warnings)
    yield from html_by_hand()


def html_by_hand():
    scene = Scene("qwen2.5-vl", (2000, 1000), (1000, 500))

    def page(html, elements, warnings=(), text=None):
        structured = {"html": f"<html><body>\n{html}\n</body></html>", "elements": elements}
        return record("by hand", scene, text, structured, warnings)

    p = {"tag": "p", "text": "Hi", "bbox_2d": [10, 20, 30, 40], "pixels": {"box": [20, 40, 60, 80]}}
    yield page("<p>Hi</p>", [p], text='<p data-bbox="10 20 30 40">Hi</p>')
    yield page("<p>Hi</p>", [p], text='<p data-bbox="10,20,30,40">Hi')
    yield page("<p>Hi</p>", [p], text='<P DATA-BBOX=\'10 20 30 40\'>Hi</P>')
    yield page("<p>Hi</p>", [p], text='```html\n<p data-bbox="10 20 30 40">Hi</p>')
    yield page("<ol><li>Hi</li></ol>", [{**p, "tag": "li"}], text='<ol data-bbox="1 2 3 4"><li data-bbox="10 20 30 40">Hi</li></ol>')
    polygon = {"tag": "p", "text": "Hi", "polygon": [0, 0, 10, 0, 10, 10, 0, 10], "pixels": {"polygon": [[0, 0], [20, 0], [20, 20], [0, 20]]}}
    yield page("<p>Hi</p>", [polygon], text='<p data-polygon="0 0 10 0 10 10 0 10">Hi</p>')
    yield page("<p>Hi</p>", [{"tag": "p", "text": "Hi"}], ["can't be read"], text='<p data-bbox="a b">Hi</p>')
    swapped = {**p, "bbox_2d": [30, 40, 10, 20]}
    yield page("<p>Hi</p>", [swapped], ["wrong order"], text='<p data-bbox="30 40 10 20">Hi</p>')
    beyond = {**p, "bbox_2d": [10, 20, 3000, 40], "pixels": {"box": [20, 40, 2000, 80]}}
    yield page("<p>Hi</p>", [beyond], ["beyond the image"], text='<p data-bbox="10 20 3000 40">Hi</p>')
    nested = [{"tag": "div", "text": "a c", "bbox_2d": [0, 0, 100, 100], "pixels": {"box": [0, 0, 200, 200]}}, p]
    yield page("<div>a<p>Hi</p>c</div>", nested, text='<div data-bbox="0 0 100 100">a<p data-bbox="10 20 30 40">Hi</p>c</div>')
    yield page("<b>Hi</b>", [], ["open elements were closed"], text="<b>Hi")
    yield page("<p>a &lt; b</p>", [], text="<p>a < b</p>")
    formula = {**p, "tag": "div", "class": "formula", "text": "$0<x<1$, $a<b$"}
    yield page(
        '<div class="formula">$0&lt;x&lt;1$, $a&lt;b$</div>', [formula],
        text='<div class="formula" data-bbox="10 20 30 40">$0<x<1$, $a<b$</div>',
    )
    image = {"tag": "div", "class": "image", "text": "", "bbox_2d": [10, 20, 30, 40], "pixels": {"box": [20, 40, 60, 80]}}
    picture = {"tag": "img", "text": "", "bbox_2d": [10, 20, 30, 40], "pixels": {"box": [20, 40, 60, 80]}}
    yield page(
        '<div class="image"><img></div>', [image, picture],
        text='<div class="image" data-bbox="10 20 30 40"><img data-bbox="10 20 30 40"/></div>',
    )
    chart = {**image, "class": "chart", "text": "A 1"}
    yield page(
        '<div class="chart"></div>', [chart],
        text='<div class="chart" data-bbox="10 20 30 40" format="csv"><table><tr><td>A</td><td>1</td></tr></table></div>',
    )
    for text in ["No page.", "", "```html\n```"]:
        yield record("by hand: nothing", scene, text, None, ["no HTML was found"])


def of_markdown():
    for scene in SCENES:
        for kinds in [["Image"], ["Table"], ["Image", "Table", "Image"], ["Chart", "Table"]]:
            parts, clean, elements = ["# Title"], ["# Title"], []
            for row, kind in enumerate(kinds):
                box = scene.raw_box(0.1, 0.2 * row, 0.9, 0.2 * row + 0.1)
                elements.append({"kind": kind.lower(), "bbox_2d": box, "pixels": {"box": scene.box(*box)}})
                body = "\\begin{tabular}{|l|}\na \\\\\n\\end{tabular}" if kind == "Table" else f"![]({kind}.png)"
                edges = ", ".join(map(str, box))
                parts += [f"<!-- {kind} ({edges}) -->\n{body}", f"Text {row} with $x^2$."]
                clean += [body, f"Text {row} with $x^2$."]
            text, structured = "\n\n".join(parts), {"markdown": "\n\n".join(clean), "elements": elements}
            yield record("plain", scene, text, structured)
            yield record("fence", scene, f"```markdown\n{text}\n```", structured)
            yield record("fence md", scene, f"```md\n{text}\n```", structured)
            yield record("fence without an end", scene, f"```markdown\n{text}", structured)
            yield record("words around", scene, f"Here:\n```markdown\n{text}\n```\nDone.", structured, ["words outside of the Markdown"])
            yield record("reasoning", scene, f"<think>\n# no\n</think>\n{text}<|im_end|>", structured)
            yield record("no spaces", scene, text.replace(" -->", "-->").replace("<!-- ", "<!--").replace(" (", "("), {
                **structured, "markdown": structured["markdown"].replace(" (", "(")})
            cut = text + "\n\n<!-- Table (12, 3"
            yield record("cut comment", scene, cut, structured, ["limit of tokens", "ends within a comment"], cut=True)
            code = text + "\n\n```python\nprint(1)\n```"
            yield record("code", scene, code, {**structured, "markdown": structured["markdown"] + "\n\n```python\nprint(1)\n```"})
            yield record("code in a fence", scene, f"```markdown\n{code}\n```", {**structured, "markdown": structured["markdown"] + "\n\n```python\nprint(1)\n```"})
    scene = Scene("qwen3-vl", (2000, 1000), (1984, 992))
    table = {"kind": "table", "bbox_2d": [100, 200, 300, 400], "pixels": {"box": [200, 200, 600, 400]}}
    for text, markdown, elements, warnings in [
        ("a\n<!-- Table (100, 200, 300, 400) -->\nb", "a\nb", [table], []),
        ("a <!-- Table (100, 200, 300, 400) --> b", "a  b", [table], []),
        ("<!-- Table (100 200 300 400) -->b", "b", [table], []),
        ("<!-- Table: (100,200,300,400) -->\nb", "b", [table], []),
        ("<!-- TODO -->\nb", "<!-- TODO -->\nb", [], []),
        ("<!-- Table (1, 2, 3) -->\nb", "<!-- Table (1, 2, 3) -->\nb", [], []),
        ("<!-- Table (a, b, c, d) -->", "<!-- Table (a, b, c, d) -->", [], []),
        ("<!-- Table (300, 400, 100, 200) -->", "", [{**table, "bbox_2d": [300, 400, 100, 200]}], ["wrong order"]),
        ("<!-- Table (100, 200, 300, 4000) -->", "", [{**table, "bbox_2d": [100, 200, 300, 4000], "pixels": {"box": [200, 200, 600, 1000]}}], ["beyond the image"]),
        ("<!-- Table (100.5, 200, 300, 400) -->", "", [{**table, "bbox_2d": [100.5, 200, 300, 400], "pixels": {"box": [201, 200, 600, 400]}}], []),
        ("no comments", "no comments", [], []),
        ("a <!-- b", "a", [], ["ends within a comment"]),
        ("| a |\n|---|\n| 1 |", "| a |\n|---|\n| 1 |", [], []),
        ("", "", [], []),
    ]:
        yield record("by hand", scene, text, {"markdown": markdown, "elements": elements}, warnings)

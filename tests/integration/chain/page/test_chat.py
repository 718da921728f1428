"""The chat of the page at `/`: Markdown that nobody can attack it with, conversations, settings, tools, files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.answering import answering
from tests.browsing import Page, Press, Stage, Talker, sent_by, watch_requests

from stoker.serve.answer.parsers.reasoning import THINK
from stoker.serve.operate.service import Service

TABLE = """| a | b |
|:--|--:|
| 1 | 2 |"""
SHOW = rf"""Here is **bold** and `code`.

# Heading

{TABLE}

```python
def f(x):
    return "a" * x
```

Euler: $e^{{i\pi}}+1=0$, for $5 and $6.

$$\int_0^1 x^2\,dx = \frac{{1}}{{3}}$$

See [there].

[there]: https://example.com/
"""
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"properties": {"city": {}}}}}]
HOSTILE = [
    "<script>hacked()</script>",
    "<img src=x onerror=hacked()>",
    "<svg onload=hacked()><script>hacked()</script></svg>",
    "<svg><style><img src=x onerror=hacked()></style></svg>",
    "<iframe srcdoc='<script>parent.hacked()</script>'></iframe>",
    "<math><mtext><table><mglyph><style><img src=x onerror=hacked()>",
    "<math href='javascript:hacked()'>x</math>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=hacked()>",
    "<noscript><p title='</noscript><img src=x onerror=hacked()>'>",
    "<a href='javascript:hacked()'>x</a> <base href='//evil.example'> <meta http-equiv=refresh content='0;url=//evil'>",
    "<details open ontoggle=hacked()> <input autofocus onfocus=hacked()> <style>*{display:none}</style>",
    "[x](javascript:hacked()) [x](JaVaScRiPt:hacked()) [x](&#106;avascript:hacked()) [x](java\tscript:hacked())",
    "[x](data:text/html,<script>hacked()</script>) [x](vbscript:x) [x](file:///etc/passwd) <javascript:hacked()>",
    "![x](javascript:hacked()) ![x](https://evil.example/?leak) ![x](data:image/svg+xml,<svg/onload=hacked()>)",
    "[x]: javascript:hacked()\n\n[x] ![x]",
    '[a](https://e.example/"onmouseover="hacked()) [a](https://e.example "x\\" onclick=hacked() \\"")',
    '```"><img src=x onerror=hacked()>\n<script>hacked()</script>\n```',
    "```html onload=hacked()\n<img src=x onerror=hacked()>\n```",
    "| <img src=x onerror=hacked()> |\n|:--|\n| <script>hacked()</script> |",
    r"$\href{javascript:hacked()}{x}$ $\url{javascript:hacked()}$ $\includegraphics{https://evil.example/x.png}$",
    r"$\htmlData{onload=hacked()}{x}$ $\htmlStyle{position:fixed}{x}$ $\htmlClass{skip}{x}$",
    "$<img src=x onerror=hacked()>$",
    r"$$\def\a{\a\a}\a$$ $\rule{9999em}{9999em}$ $$</span><script>hacked()</script>$$",
    "> " * 3000 + "deep",
    "".join(f"{'  ' * depth}- x\n" for depth in range(300)),
    "[" * 5000 + "x" + "](a)" * 5000,
    "*a **b " * 3000,
    "$" * 4000 + "\\(" * 4000,
    "${" + "{" * 4000 + "}" * 4000 + "}$",
    "\u0000\ufffe\u202e<scr\u0000ipt>hacked()</scr\u0000ipt>",
]
CHECK = """
const { MarkdownView } = await import("/page/markdown.js");
await (await import("/page/libraries.js")).katex();
const FORBIDDEN = "script, style, iframe, img, form, input, base, meta, link, object, embed, foreignObject";
const place = document.getElementById("messages");
const wrong = [];
window.hacked = () => wrong.push("a script ran");
for (const text of arguments[0]) {
  const root = place.appendChild(document.createElement("div"));
  const view = new MarkdownView(root);
  const step = text.length > 400 ? text.length : 3;
  for (let end = step; end < text.length; end += step) view.update(text.slice(0, end));
  view.update(text, true);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const say = (what) => wrong.push(`${what}: ${text.slice(0, 80)}`);
  for (const node of root.querySelectorAll("*")) {
    if (node.matches(FORBIDDEN)) say(node.tagName);
    for (const { name, value } of node.attributes) {
      if (name.startsWith("on") || name === "srcdoc" || name === "src") say(name);
      if (name.endsWith("href") && !/^(https?|mailto):/.test(value)) say(value);
    }
    if (node.tagName === "A" && (node.rel !== "noopener noreferrer" || node.target !== "_blank")) say("link");
  }
  if (!root.textContent.trim()) say("nothing is shown");
  if (root.querySelector(".math")) say("a formula is not set yet");
  root.remove();
}
done(wrong);
"""


def test_markdown_is_drawn_as_it_streams(page: Page, stage: Stage) -> None:
    stage.tell(SHOW)
    stage.talker.stop_before = 60
    page.open_ready(stage.url)
    page.find("#prompt").send_keys("Show me", Press.ENTER)
    page.until(lambda: page.all(".text strong"), "the first words, in bold, while the rest is not there yet")
    assert not page.all(".formula.display")
    stage.talker.gate.set()
    page.answered()
    page.until(lambda: len(page.all(".formula .katex")) == 2, "the formulas")
    assert "$5 and $6" in page.answers[0]
    assert page.find(".text h3").text == "Heading"
    assert page.find(".text a").get_attribute("href") == "https://example.com/", "defined after it was used"
    assert [cell.get_attribute("class") for cell in page.all(".text td")] == ["left", "right"]
    assert [word.text for word in page.all(".text .hljs-keyword")] == ["def", "return"]
    page.run("window.copied = ''; navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.click("Copy", within="#messages .code-head")
    page.until(lambda: page.run("return window.copied") == 'def f(x):\n    return "a" * x\n', "the code, copied")


def test_what_a_model_says_cannot_attack_the_page(page: Page, stage: Stage) -> None:
    page.open_ready(stage.url)
    assert page.wait_for(f"(async () => {{ {CHECK} }})().catch((error) => done([String(error)]))", HOSTILE) == []
    stage.tell("\n\n".join(HOSTILE[:12]))
    page.run("window.wrong = 0; window.hacked = () => { window.wrong += 1; }")
    page.say("<img src=x onerror=hacked()>")
    assert page.run("return window.wrong") == 0
    assert "<img src=x onerror=hacked()>" in page.find(".message.user .body").text
    assert page.find("#conversations .title").text == "<img src=x onerror=hacked()>"
    assert not page.all(":is(#messages, #conversations) :is(script, img, iframe, svg)")


def test_conversations_are_kept_renamed_exported_deleted_and_imported(page: Page, stage: Stage, tmp_path: Path) -> None:
    page.open_ready(stage.url)
    page.say("First question")
    page.click("New chat")
    page.say("Second question")
    page.until(lambda: _titles(page) == ["Second question", "First question"], "both")
    page.click("Rename First question")
    page.press("Renamed", Press.ENTER)
    page.until(lambda: _titles(page) == ["Second question", "Renamed"], "the new name")
    page.open_ready(stage.url)
    page.until(lambda: _titles(page) == ["Second question", "Renamed"], "what an earlier visit left")
    page.click("Renamed", within="#conversations")
    assert (page.find(".message.user").text.split("\n")[0], page.answers) == ("First question", ["Hello."])
    page.run("""const made = URL.createObjectURL;
      URL.createObjectURL = (file) => { file.text().then((text) => { window.file = text; }); return made(file); }""")
    page.click("Export")
    page.until(lambda: page.run("return window.file"), "the file")
    exported = tmp_path / "conversations.json"
    exported.write_text(page.run("return window.file"))
    for name in ("Second question", "Renamed"):
        page.click(f"Delete {name}")
        page.click(f"Really delete {name}?")
    page.until(lambda: _titles(page) == [] and not page.answers, "nothing, as all are deleted")
    page.find("#import-file").send_keys(str(exported))
    page.until(lambda: _titles(page) == ["Second question", "Renamed"], "what was exported")
    bad = tmp_path / "bad.json"
    for content, complaint in (
        ("{", "not JSON"),
        ("{}", "no conversations"),
        (_one({"role": "system"}), "unknown role"),
    ):
        bad.write_text(content)
        page.find("#import-file").send_keys(str(bad))
        page.until(lambda wanted=complaint: wanted in page.text("list-note"), complaint)
    assert len(_titles(page)) == 2


def _titles(page: Page) -> list[str]:
    return page.texts("#conversations .title")


def _one(message: dict[str, str]) -> str:
    return json.dumps({"format": "stoker-conversations", "version": 1, "conversations": [{"messages": [message]}]})


def test_a_page_that_is_closed_while_an_answer_arrives_keeps_what_came(page: Page, stage: Stage) -> None:
    stage.tell("The old man went down to the sea. " * 3)
    stage.talker.stop_before = 0
    page.open_ready(stage.url)
    page.find("#prompt").send_keys("Tell me", Press.ENTER)
    page.until(lambda: _titles(page) == ["Tell me"], "the conversation, before there is an answer")
    page.until(lambda: page.wait_for(_STORED) == 2, "the conversation, kept")
    page.open_ready(stage.url)
    page.until(lambda: _titles(page) == ["Tell me"], "the previous conversation")
    page.click("Tell me", within="#conversations")
    assert "no answer yet" in page.find(".message.error").text
    page.click("Try again")
    page.until(lambda: page.shown("stop"), "another try")
    page.click("Delete Tell me")
    page.click("Really delete Tell me?")
    # The first one may last longer: Chromium keeps a page that was left, with its requests, for a minute.
    page.until(lambda: page.shown("send") and stage.talker.cancelled >= 1, "the end of the answer")
    assert _titles(page) == []
    assert not page.all(".message")


_STORED = """indexedDB.open("stoker").onsuccess = ({ target }) => {
  target.result.transaction("conversations").objectStore("conversations").getAll().onsuccess = (found) => {
    target.result.close();
    done(found.target.result[0]?.messages.length); }; }"""


def test_a_message_is_edited_copied_and_an_answer_regenerated(page: Page, stage: Stage) -> None:
    page.open_ready(stage.url)
    page.say("One")
    page.say("Two")
    watch_requests(page)
    stage.tell("Better.")
    page.click("Regenerate")
    page.until(lambda: page.answers == ["Hello.", "Better."], "another answer")
    page.answered()
    assert [each["content"] for each in sent_by(page)["messages"]] == ["One", "Hello.", "Two"]
    page.click("Edit", within=".message.user")
    page.press(" more", Press.ENTER)
    page.until(lambda: page.answers == ["Better."], "the answer to what was edited, alone")
    page.answered()
    assert [each["content"] for each in sent_by(page)["messages"]] == ["One more"]
    page.run("window.copied = ''; navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.click("Copy", within=".message.assistant")
    page.until(lambda: page.run("return window.copied") == "Better.", "the copy")


def test_settings_go_into_the_request_and_are_kept(page: Page, stage: Stage) -> None:
    page.open_ready(stage.url)
    page.find("#open-settings").click()
    assert page.focused == "close-settings"
    page.find("#preset").send_keys("Precise")
    page.fill("system", "Be brief.")
    page.fill("max_tokens", "7")
    page.find("#preset-name").send_keys("Mine", Press.ENTER)
    page.until(lambda: page.run("return document.getElementById('preset').value") == "Mine", "the preset")
    page.fill("schema", "{")
    page.until(
        lambda: "not valid JSON" in page.run("return document.getElementById('schema-fault').textContent"), "a hint"
    )
    page.find("#prompt").send_keys("Hi", Press.ENTER)
    page.until(lambda: "invalid JSON" in str(page.texts(".message.error")), "the complaint")
    page.fill("schema", '{"enum": ["Hello."]}')
    page.fill("tools", json.dumps(TOOLS))
    watch_requests(page)
    page.click("Try again")
    page.until(lambda: page.run("return window.sent") and page.answers, "the answer")
    sent = sent_by(page)
    assert (sent["temperature"], sent["max_tokens"], sent["tools"]) == (0, 7, TOOLS)
    assert sent["response_format"]["json_schema"]["schema"] == {"enum": ["Hello."]}
    assert [each["content"] for each in sent["messages"]] == ["Be brief.", "Hi"]
    page.open_ready(stage.url)
    for name, value in (("system", "Be brief."), ("max_tokens", "7"), ("temperature", "0")):
        assert page.run("return document.getElementById(arguments[0]).value", name) == value
    assert "Mine" in page.find("#preset").get_attribute("textContent")


def test_reasoning_is_folded(page: Page, stage: Stage) -> None:
    stage.be(thinking=THINK)
    stage.tell("<think>Let me see.</think>Forty-two.")
    page.open_ready(stage.url)
    page.say("What is it?")
    assert page.find(".text").text == "Forty-two."
    assert not page.find(".thought").is_displayed()
    page.find(".reasoning summary").click()
    assert page.find(".thought").text == "Let me see."


def test_a_tool_is_called_and_gets_its_result(page: Page, stage: Stage) -> None:
    stage.tell(CALL)
    page.open_ready(stage.url)
    page.fill("tools", json.dumps(TOOLS))
    page.say("Weather?")
    assert "call of weather" in page.find(".calls").text
    assert '"city": "Bonn"' in page.find(".calls pre").text
    watch_requests(page)
    stage.tell("It rains.")
    page.find("[aria-label='Result of weather']").send_keys("rain")
    page.click("Send results")
    page.until(lambda: page.answers[-1] == "It rains.", "the answer")
    page.answered()
    _, call, result = sent_by(page)["messages"]
    assert (result["role"], result["content"]) == ("tool", "rain")
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]


def test_an_answer_that_was_cut_off_says_so_and_goes_on(page: Page, stage: Stage) -> None:
    stage.tell("The old man went down to the sea.")
    page.open_ready(stage.url)
    page.fill("max_tokens", "3")
    page.say("Tell me")
    begun = page.answers[0]
    assert "cut off at the token limit" in page.find(".message.assistant .foot").text
    page.fill("max_tokens", "")
    watch_requests(page)
    stage.tell(" And came back.")
    page.click("Continue")
    page.until(lambda: page.answers == [f"{begun} And came back."], "the rest")
    sent = sent_by(page)
    assert (sent["continue_final_message"], sent["messages"][-1]) == (True, {"role": "assistant", "content": begun})
    page.answered()
    assert "cut off" not in page.find(".message.assistant .foot").text


def test_text_files_are_attached_and_others_refused(page: Page, stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the boat leaves at noon")
    (tmp_path / "picture.bin").write_bytes(b"\xff\x00\x80")
    page.open_ready(stage.url)
    page.find("#files").send_keys(f"{tmp_path / 'notes.txt'}\n{tmp_path / 'picture.bin'}")
    page.until(lambda: "not a text file" in page.text("said") and "notes.txt" in page.text("attachments"), "both")
    watch_requests(page)
    page.run("document.getElementById('said').textContent = ''")
    page.say("When?")
    assert sent_by(page)["messages"][0]["content"] == "File notes.txt:\n```\nthe boat leaves at noon\n```\n\nWhen?"
    assert page.find(".message.user .attachment").text == "notes.txt"


def test_the_model_is_chosen_where_there_are_several(page: Page, stage: Stage) -> None:
    stage.be(names=("demo", "pirate"))
    page.open_ready(stage.url)
    page.find("#model-choice").send_keys("pirate")
    watch_requests(page)
    page.say("Ahoy")
    assert sent_by(page)["model"] == "pirate"


def test_an_error_is_shown_and_nothing_is_lost(page: Page, stage: Stage) -> None:
    page.open_ready(stage.url)
    page.fill("temperature", "9")
    page.say("Hi")
    assert "temperature" in page.find(".message.error").text
    page.fill("temperature", "")
    page.click("Try again")
    page.until(lambda: page.answers == ["Hello."], "the answer")
    assert not page.all(".message.error")


def test_a_browser_that_keeps_nothing_and_a_server_that_is_gone_take_no_chat_away(page: Page, frontend) -> None:
    """With cookies blocked, a browser's storage throws; a server may be restarted under an open page."""
    script = """for (const name of ["localStorage", "sessionStorage", "indexedDB"])
      Object.defineProperty(window, name, { get() { throw new DOMException("blocked", "SecurityError"); } });"""
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    service = Service()
    service.attach(Talker(frontend), frontend)
    try:
        with answering(service) as url:
            page.open_ready(url)
            page.say("Hi")
            page.until(lambda: _titles(page) == ["Hi"], "the conversation")
        page.until(lambda: page.text("phase") == "unreachable", "the news")
        assert page.answers == ["Hello."]
        page.find("#prompt").send_keys("Still there?", Press.ENTER)
        page.until(lambda: "does not answer" in str(page.texts(".message.error")), "the error")
        assert page.texts(".message.user .body") == ["Hi", "Still there?"]
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_the_curl_command_says_what_the_page_would_and_works(page: Page, stage: Stage) -> None:
    page.open_ready(stage.url)
    assert page.find("#temperature").get_attribute("placeholder") == "0.7", "the demo's own way of sampling"
    for name, value in {"temperature": "0", "max_tokens": "7", "seed": "3", "system": "It's short"}.items():
        page.fill(name, value)
    page.find("#prompt").send_keys("Who's there?")
    page.run("window.copied = ''; navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.click("Copy as curl")
    page.until(lambda: page.text("said") == "copied", "the copy")
    command = page.run("return window.copied")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "Hello."
    sent = json.loads(command.split("-d '")[1].rstrip("'").replace("'\\''", "'"))
    assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (0, 7, 3)
    assert [message["content"] for message in sent["messages"]] == ["It's short", "Who's there?"]

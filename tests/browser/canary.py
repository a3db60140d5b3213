"""The canary of a page: whatever it does, loads or holds that a page which only shows text does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext, Dialog, Page, Request

from tests.browser.hostile_texts import on_one_line

# What templates and drawings of the UI are made of; anything else came out of a text.
ELEMENTS = """
a article aside b bdi blockquote body br button code col colgroup datalist dd details dialog div dl dt footer form h1
h2 h3 head header html i input kbd label li link main mark meta nav ol option p path pre rect script section span
style summary svg table tbody td text textarea th thead time title tr ul
"""
ATTRIBUTES = """
action aria-current aria-describedby aria-hidden aria-invalid aria-label aria-labelledby autocomplete autofocus
charset class cols colspan content d data-around data-columns data-coming data-command data-copy data-copy-from
data-density data-density-switch data-due data-each data-from data-index data-kept data-key data-live data-newer
data-node data-pane data-press data-ready data-rows data-shown data-start data-stopped data-theme data-theme-switch
data-to data-trace data-up data-view data-views data-waiting data-without datetime fill for form formaction height
hidden href http-equiv id inputmode lang list maxlength method name open placeholder preserveAspectRatio rel required
role rows rx scope size spellcheck src stroke stroke-width style tabindex title type value viewBox width x xmlns y
"""
_KNOWN = [ELEMENTS.split(), ATTRIBUTES.split()]
# A page says what trips the canary as soon as it happens, in whatever frame.
_LISTENS = """
window.ran = () => { window.hasRun = true; window.tripped('ran'); };
addEventListener('securitypolicyviolation', (told) => window.tripped(`${told.effectiveDirective} ${told.blockedURI}`));
"""
_LOOKS = """(document, elements, attributes) => {
  const found = [];
  const ours = (address) => /^(?:[#?]|\\/(?![\\/\\\\]))/.test(address);
  for (const one of document.querySelectorAll('*')) {
    const name = one.localName, inHead = one.parentElement === document.head;
    if (!elements.includes(name)) found.push(`<${name}>`);
    if (name === 'script' && (!inHead || one.textContent)) found.push('a script in the text');
    if ((name === 'link' || name === 'meta') && !inHead) found.push(`<${name}> in the text`);
    if (name === 'style') found.push('<style>');
    for (const { name: key, value } of one.attributes) {
      const leads = ['href', 'src', 'action', 'formaction'].includes(key);
      if (!attributes.includes(key)) found.push(`<${name} ${key}>`);
      if (key === 'style' && !one.closest('.spacer')) found.push(`<${name} style>`);
      if (leads && value && !ours(value)) found.push(`${key}=${value.slice(0, 60)}`);
    }
  }
  if (document.querySelectorAll('main').length !== 1) found.push('not one main part');
  return found;
}"""


@dataclass
class Canary:
    """What a window's pages were caught at since they were last asked."""

    origin: str
    trips: list[str] = field(default_factory=list)

    @classmethod
    def watching(cls, context: BrowserContext, origin: str) -> Canary:
        """Watch every page of a window from its first byte on."""
        canary = cls(origin)
        context.expose_binding("tripped", lambda _source, what: canary.trips.append(str(what)))
        context.add_init_script(_LISTENS)
        context.on("dialog", canary._dialog)
        context.on("request", canary._request)
        context.on("page", lambda page: canary.trips.append(f"a window: {page.url}"))
        return canary

    def caught(self, page: Page, *texts: str) -> list[str]:
        """Return what a page that stands still was caught at; ``texts`` are what it has to say word for word."""
        said, looked = page.evaluate(
            f"([elements, attributes]) => [document.body.textContent, ({_LOOKS})(document, elements, attributes)]",
            _KNOWN,
        )
        found = [*map(str, looked), *_not_said(said, texts), *self.trips]
        self.trips.clear()
        return found

    def _dialog(self, dialog: Dialog) -> None:
        self.trips.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:", "about:")):
            self.trips.append(f"asked {request.url[:80]}")


def caught_in_frames(page: Page, texts: Sequence[str]) -> list[list[str]]:
    """Return the same of each of a page's own frames, of which each has to say the text at its place."""
    looked = page.evaluate(
        f"""([elements, attributes]) => [...document.querySelectorAll('iframe')].map(({{ contentDocument: one }}) =>
          [one.body?.textContent ?? '', ({_LOOKS})(one, elements, attributes)])""",
        _KNOWN,
    )
    return [[*map(str, found), *_not_said(said, [text])] for (said, found), text in zip(looked, texts, strict=True)]


def _not_said(said: str, texts: Sequence[str]) -> list[str]:
    on_page = on_one_line(said)
    return [f"not shown as text: {text[:60]!r}" for text in texts if text not in on_page]

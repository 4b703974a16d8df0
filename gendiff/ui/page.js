// The page's own script: the address, and one message at a time. gradio calls it once, when the
// page has loaded.
() => {
  // ---- The address --------------------------------------------------------------------------
  window.gendiffArrival = location.search;
  // A link's tab at once; its settings come with the page's first event.
  const named = new URLSearchParams(location.search).get("tab") ?? "";
  if (/^[a-z]+$/.test(named)) document.getElementById(`tab-${named}-button`)?.click();
  // The address is the link's until its settings are in and a person has touched the page: while
  // it loads, gradio selects the first tab and fills in defaults, and those are not what it names.
  let open = null, arrived = false, touched = false;
  // What belongs in a tab's address and is no setting: {tab: {name: value}}. Also of what ran before.
  const kept = (window.gendiffKept ??= {});
  for (const type of ["pointerdown", "keydown", "input"]) {
    document.addEventListener(type, () => { touched = true; }, { capture: true });
  }
  // Settings of the open tab -> ?tab=...&name=value, without a new entry in the history. In a Space
  // the page is a frame: its parent is told, too, as the Hub documents.
  window.gendiffAddress = (tab, names, values, opened) => {
    if (opened) open = tab;
    // A change in a tab that is not open (a default that arrives late) must not move the reader.
    if (!arrived || !touched || tab !== open) return;
    const query = new URLSearchParams({ tab });
    const theme = new URLSearchParams(location.search).get("__theme");
    if (theme) query.set("__theme", theme);
    names.forEach((name, index) => {
      const value = values[index];
      if (value !== null && value !== undefined && value !== "") query.set(name, value);
    });
    for (const [name, value] of Object.entries(kept[tab] ?? {})) query.set(name, value);
    tell(query);
  };
  // Keep such a value from now on; null: no longer.
  window.gendiffKeep = (tab, name, value) => {
    kept[tab] = { ...kept[tab], [name]: value };
    if (value === null) delete kept[tab][name];
    const query = new URLSearchParams(location.search);
    if (query.get("tab") !== tab) return;
    if (value === null) query.delete(name);
    else query.set(name, value);
    tell(query);
  };
  const tell = (query) => {
    history.replaceState(null, "", "?" + query);
    if (window.parent !== window) {
      window.parent.postMessage({ queryString: query.toString() }, "https://huggingface.co");
    }
  };
  // The link's settings are in (named: the settings of each tab): a link that names some runs them,
  // unless one of them is not what the tab runs with ({tab: {name: value}}; page.py). The button is
  // pressed in the browser, to queue like any other.
  window.gendiffArrived = (named, runsWith) => {
    arrived = true;
    const query = new URLSearchParams(window.gendiffArrival), tab = query.get("tab");
    if (named[tab]) open = tab;
    else open ??= Object.keys(named)[0];
    const meant = ([name, value]) => (query.get(name) ?? value) === value;
    const runs = (named[tab] ?? []).some((name) => query.has(name))
      && Object.entries(runsWith[tab] ?? {}).every(meant);
    if (runs) setTimeout(() => document.querySelector(`#${tab}-run`)?.click(), 300);
  };
  // Where somebody rests on a frame of a player, the address names it: ?tab=denoise&step=7.
  document.addEventListener("gendiff-rest", ({ target, detail }) => {
    const query = new URLSearchParams(location.search), panel = target.closest("[role=tabpanel]")?.id ?? "";
    const tab = panel.replace(/^tab-/, "");
    if (!query.has("tab") && tab && detail.number !== null) query.set("tab", tab);
    if (!touched || query.get("tab") !== tab) return;
    if (detail.number === null) query.delete(detail.noun);
    else query.set(detail.noun, detail.number);
    tell(query);
  });

  // ---- Numbers ------------------------------------------------------------------------------
  // What is typed beyond a slider's ends stays, to be answered in words (parts.Slider): gradio would
  // put the end there in silence as the field is left.
  document.addEventListener("blur", (event) => {
    const { target } = event, typed = target.matches?.(".rail input[type=number]");
    if (typed && (target.value === "" || !target.validity.valid)) event.stopPropagation();
  }, { capture: true });

  // ---- One message at a time ----------------------------------------------------------------
  // gradio piles errors up; style.css shows the last one. It stays until the next thing that
  // somebody does, but not while the field that it is about is being put right.
  const field = "input:not([type=range], [type=radio], [type=checkbox]), textarea";
  const over = ({ type, key, target }) => {
    const mending = target.matches(field) && !(type === "keydown" && key === "Enter");
    if (mending || (type === "keydown" && key !== "Enter") || target.closest(".toast-body")) return;
    for (const close of document.querySelectorAll(".toast-body.error [data-testid=toast-close]")) close.click();
  };
  for (const type of ["click", "keydown"]) document.addEventListener(type, over, { capture: true });
}

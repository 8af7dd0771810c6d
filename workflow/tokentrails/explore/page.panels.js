// Panels that are opened on demand, each with its own status and problem.

const $ = id => document.getElementById(id);

export function panels({state, ask, attempt, element, draw, tokenButton, replaceTokens, options, writeLink}) {
  let ready = false, others = [], cut = "";

  function panel(id, work) {
    const details = $(id);
    const [status, problem] = details.querySelectorAll(".status, .problem");
    const at = {serial: 0, status, problem, area: details};
    const show = (words = "computing …", task = work) =>
      (ready && details.open ? attempt(words, task, at) : undefined);
    details.addEventListener("toggle", () => {
      const open = state.open.filter(each => each !== id);
      state.open = details.open ? [...open, id] : open;
      writeLink();
      show();
    });
    return show;
  }

  // Two texts

  const showTwo = panel("two", async late => {
    if (!state.other.trim()) return;
    const wanted = [state.model, state.checkpoint, state.special, state.other].join("\n");
    if (cut !== wanted) {
      const found = await ask("tokens", {text: state.other});
      if (late()) return;
      [others, cut] = [found.tokens, wanted];
      if (state.place === null || state.place >= others.length) state.place = alike();
      showOthers();
    }
    writeLink();
    const {figures} = await ask("two_texts", {position: state.current, other: state.other,
      place: state.place, site: state.site, control: state.both ? state.control : ""});
    if (late()) return;
    await draw(figures, late, $("two-figure"));
    $("two").dataset.shown = `${state.current},${state.place},${state.both}`;
  });

  // The same token, or the last one of a word.
  function alike() {
    const own = document.querySelector("#tokens [aria-current]");
    const same = others.find(each => own && String(each.id) === own.dataset.id);
    const words = others.filter(each => !each.special && /\p{L}/u.test(each.word));
    return (same || words[words.length - 1] || others[others.length - 1]).position;
  }

  function showOthers() {
    const choose = position => {
      state.place = position;
      showOthers();
      showTwo();
    };
    replaceTokens($("other-tokens"), others.map(each =>
      tokenButton(each, each.position === state.place, false, choose)));
    $("other-cut").hidden = false;
  }

  function showOther(text, place = null) {
    Object.assign(state, {other: text, place});
    $("other").value = text;
    return showTwo();
  }

  const replaceWord = () => showTwo("replacing …", async late => {
    const found = await ask("control", {position: state.current, control: state.control});
    if (late()) return;
    state.both = $("both").checked = false; // the control is in one of them already
    showOther(found.text, found.position);
  });

  function startTwo(texts) {
    for (const {experiment, label, text} of texts) {
      $("other-texts").append(element("option", `${experiment}: ${label}`, {value: text}));
    }
    $("other-form").addEventListener("submit", event => {
      event.preventDefault();
      showOther($("other").value);
    });
    $("other").addEventListener("keydown", event => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        showOther($("other").value);
      }
    });
    $("other-texts").addEventListener("change", () => {
      if ($("other-texts").value) showOther($("other-texts").value);
    });
    $("control").addEventListener("input", () => { state.control = $("control").value.trim(); });
    $("control").addEventListener("change", () => { if (state.both) showTwo(); });
    $("replace").addEventListener("click", replaceWord);
    $("both").addEventListener("change", () => {
      state.both = $("both").checked;
      showTwo();
    });
  }

  return {
    // Until then what is shown does not fit.
    wait() {
      for (const figure of $("panels").querySelectorAll("figure")) figure.inert = true;
    },
    // What the text, the model or the token changes.
    refresh() {
      ready = true;
      showTwo();
    },
    start: startTwo,
    // What a link has of them.
    follow({other = "", place, control = state.control, both, open}) {
      Object.assign(state, {other, place, control, both});
      $("other").value = other;
      $("control").value = control;
      $("both").checked = both;
      for (const details of $("panels").children) details.open = open.includes(details.id);
    },
  };
}

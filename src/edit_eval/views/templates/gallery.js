"use strict";
// The gallery: which cards are shown, in what order, and the page's address, which says both.
//
// Reads each card's `data-card` once and works on that. Never asks for a layout, never makes markup of a text, asks for
// nothing from anywhere. Texts are read and cards hidden in slices of time, so that thousands of them do not hold the page; to
// move them all at once costs less than to do so in parts, after each of which the browser lays out the whole list.

const byId = (id) => document.getElementById(id);

/** Return an element with text in it. */
function element(name, text = "", properties = {}) {
  return Object.assign(document.createElement(name), properties, { textContent: text });
}

const gallery = (() => {
  const SLICE_MS = 40;
  const MOST_TAGS = 6;
  const MOST_VALUES = 60;

  const list = byId("cards");
  const cards = [...list.children].map((place, number) => ({ ...JSON.parse(place.dataset.card), place, number, text: null }));
  const byIndex = new Map(cards.map((card) => [card.index, card]));
  const fields = { q: byId("find-text"), status: byId("find-status"), flag: byId("find-flag"), low: byId("find-low"), high: byId("find-high"), sort: byId("sort") };
  if (byId("find-run")) fields.run = byId("find-run");
  let order = cards;
  let turn = 0;
  let here = null;

  // What there is to choose from

  function counted(valuesOf) {
    const counts = new Map();
    for (const card of cards) for (const value of new Set(valuesOf(card))) counts.set(value, (counts.get(value) ?? 0) + 1);
    return [...counts].sort(([one], [other]) => (one < other ? -1 : 1));
  }

  function offer(select, counts) {
    for (const [value, count] of counts) select.append(element("option", `${value} (${count})`, { value }));
  }

  function fill() {
    const tags = [...new Set(cards.flatMap((card) => Object.keys(card.tags)))];
    for (const tag of tags) {
      const counts = counted((card) => (Object.hasOwn(card.tags, tag) ? [card.tags[tag]] : []));
      if (counts.length < 2 || counts.length > MOST_VALUES || Object.keys(fields).length > 6 + MOST_TAGS) continue;
      const select = element("select");
      select.append(element("option", "any", { value: "" }));
      offer(select, counts);
      const label = element("label", "", { className: "field" });
      label.append(element("bdi", tag), " ", select);
      byId("find-tags").append(label);
      fields[`tag.${tag}`] = select;
    }
    const statuses = counted((card) => card.statuses);
    offer(fields.status, statuses);
    byId("find-statuses").hidden = statuses.length < 2;
    const flags = counted((card) => card.flags ?? []);
    offer(fields.flag, flags);
    byId("find-flags").hidden = flags.length === 0;
    byId("find-scores").hidden = !cards.some((card) => card.scores.some((score) => score !== null));
    if (!cards.some((card) => card.doubt !== undefined)) byId("sort-doubt").remove();
  }

  // What is asked for, and which cards it is

  const asked = () => Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value.trim()]));

  function textOf(card) {
    card.text ??= [...card.place.querySelectorAll(".instruction, .given, .reason, .meta")].map((one) => one.textContent).join(" ").toLowerCase();
    return card.text;
  }

  function matcher(wanted) {
    const tests = [];
    for (const [name, value] of Object.entries(wanted)) {
      if (value && name.startsWith("tag.")) tests.push((card) => card.tags[name.slice(4)] === value);
    }
    if (wanted.status) tests.push((card) => card.statuses.includes(wanted.status));
    if (wanted.flag === "none") tests.push((card) => !card.flags);
    else if (wanted.flag === "some") tests.push((card) => Boolean(card.flags));
    else if (wanted.flag) tests.push((card) => Boolean(card.flags?.includes(wanted.flag)));
    if (wanted.low || wanted.high) {
      const low = wanted.low ? Number(wanted.low) : -Infinity;
      const high = wanted.high ? Number(wanted.high) : Infinity;
      const within = (score) => score !== null && score >= low && score <= high;
      tests.push((card) => (wanted.run ? within(card.scores[wanted.run] ?? null) : card.scores.some(within)));
    }
    const words = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) tests.push((card) => words.every((word) => textOf(card).includes(word)));
    return (card) => tests.every((test) => test(card));
  }

  /** Return what a card is sorted by, ascending; undefined comes last. */
  function sorter(sort) {
    const [what, run] = sort.split("-");
    const known = (value) => value ?? undefined;
    const negative = (value) => (value === undefined ? undefined : -value);
    const keys = {
      low: (card) => known(card.scores[run]),
      high: (card) => negative(known(card.scores[run])),
      drop: (card) => known(card.apart?.[run]),
      gain: (card) => negative(known(card.apart?.[run])),
      doubt: (card) => negative(card.doubt),
      apart(card) {
        const scores = card.scores.filter((score) => score !== null);
        return scores.length > 1 ? Math.min(...scores) - Math.max(...scores) : undefined;
      },
    };
    return keys[what];
  }

  function ordered(sort) {
    const key = sorter(sort);
    if (!key) return cards;
    const keyed = cards.map((card) => [key(card) ?? Infinity, card]);
    return keyed.sort(([one, card], [other, next]) => (one === other ? card.number - next.number : one - other)).map(([, card]) => card);
  }

  // Doing it

  /** Do `work` on every card, and let the page breathe in between; return false if something else is asked for meanwhile. */
  async function onEvery(work) {
    const mine = turn;
    let until = performance.now() + SLICE_MS;
    for (const card of cards) {
      if (performance.now() > until) {
        await new Promise((go) => setTimeout(go, 0));
        if (turn !== mine) return false;
        until = performance.now() + SLICE_MS;
      }
      work(card);
    }
    return true;
  }

  async function apply() {
    turn += 1;
    const wanted = asked();
    const matches = matcher(wanted);
    let count = 0;
    const whole = await onEvery((card) => {
      const hide = !matches(card);
      if (card.place.hidden !== hide) card.place.hidden = hide;
      count += hide ? 0 : 1;
    });
    if (!whole) return;
    const next = ordered(wanted.sort);
    if (next.some((card, at) => card !== order[at])) {
      list.replaceChildren(...next.map((card) => card.place));
      order = next;
    }
    byId("found").textContent = count === cards.length ? `All ${count} samples` : `${count} of ${cards.length} samples`;
    byId("reset").disabled = !Object.values(wanted).some(Boolean);
  }

  // The page's address: #sample-12&q=roof&tag.category=add&sort=low-0

  function noteAddress() {
    const parts = new URLSearchParams(Object.entries(asked()).filter(([, value]) => value));
    const text = [here === null ? "" : `sample-${here}`, String(parts)].filter(Boolean).join("&");
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }

  function readAddress() {
    const [first, ...rest] = location.hash.slice(1).split("&");
    const sample = /^sample-(\d+)$/.exec(first);
    const parts = new URLSearchParams(sample ? rest.join("&") : [first, ...rest].join("&"));
    for (const [name, field] of Object.entries(fields)) field.value = parts.get(name) ?? "";
    for (const field of Object.values(fields)) if (field.selectedIndex === -1) field.selectedIndex = 0;
    return { sample: sample ? Number(sample[1]) : null, narrowed: [...parts].length > 0 };
  }

  function reset() {
    for (const field of Object.values(fields)) field.value = "";
    here = null;
    noteAddress();
    return apply();
  }

  /** Mark a sample as the one that the address leads to. */
  function note(index) {
    document.querySelector(".here")?.classList.remove("here");
    byIndex.get(index)?.place.classList.add("here");
    here = index;
    noteAddress();
  }

  /** Lead to a sample; what hides it is let go. */
  async function go(index) {
    const card = byIndex.get(index);
    if (!card) return false;
    if (card.place.hidden) await reset();
    note(index);
    card.place.scrollIntoView({ block: "start" });
    card.place.querySelector("a.id").focus({ preventScroll: true });
    return true;
  }

  async function follow() {
    const { sample, narrowed } = readAddress();
    if (narrowed || order !== cards || cards.some((card) => card.place.hidden)) await apply();
    else byId("found").textContent = `All ${cards.length} samples`;
    if (sample !== null) await go(sample);
  }

  let waiting = 0;
  function changed() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      here = null;
      noteAddress();
      apply();
    }, 120);
  }

  fill();
  byId("tools").hidden = false;
  byId("tools").addEventListener("input", changed);
  byId("reset").addEventListener("click", reset);
  addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#sample-"]');
    const index = link && Number(link.hash.slice("#sample-".length));
    if (!link || !byIndex.has(index) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(index);
  });
  follow();

  return { list, note, shown: () => [...list.children].filter((place) => !place.hidden) };
})();

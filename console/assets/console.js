// Keeps the page of a run up to date: it listens to the run's events and, where
// they do not come, asks from time to time. What is new comes from the server as
// it is shown. It computes no number but how old the page is.
"use strict";
(() => {
  const follow = document.getElementById("follow");
  if (!follow || "ended" in follow.dataset) return;
  const run = encodeURIComponent(follow.dataset.run), fresh = document.getElementById("fresh"), pause = document.getElementById("pause");
  const every = 1000, patience = 5000; // at most so often, and how long nothing may be heard
  let at = Date.now(), heard = 0, asking = false, again = false, paused = false, ended = false, trouble = "", source = null;

  const show = () => {
    const age = Math.round((Date.now() - at) / 1000);
    const text = ended ? "The run is over." : (paused ? "paused, " : "") + "updated " + (age < 2 ? "just now" : (age - age % 5 || age) + " s ago") + trouble;
    if (fresh.textContent !== text) fresh.textContent = text;
  };
  const stop = () => {
    ended = true;
    if (source) source.close();
    pause.hidden = true;
    show();
  };
  const update = async () => {
    if (paused || ended) return;
    if (asking) { again = true; return; }
    asking = true;
    try {
      const reply = await fetch("/live/" + run, { headers: { Accept: "text/html" } });
      if (reply.redirected || reply.status === 401) { location.reload(); return; }
      if (!reply.ok) throw new Error(reply.status);
      const next = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("live");
      const now = document.getElementById("live");
      if (next && !now.contains(document.activeElement)) {
        now.replaceWith(next);
        at = Date.now();
        if ("ended" in next.dataset) stop();
      }
      trouble = "";
    } catch {
      trouble = ", no answer at the moment";
    }
    show();
    setTimeout(() => { asking = false; if (again) { again = false; update(); } }, every);
  };
  const listen = () => {
    source = new EventSource("/api/v1/runs/" + run + "/events");
    for (const name of ["progress", "state", "accepted", "extracted", "written", "reported", "failed", "cancelled", "paused", "resumed", "end"]) {
      source.addEventListener(name, () => { heard = Date.now(); update(); });
    }
  };
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    if (paused) source.close(); else { listen(); update(); }
    show();
  });
  follow.hidden = false;
  listen();
  setInterval(() => { if (!ended && !paused && Date.now() - heard > patience) update(); show(); }, 1000);
  show();
})();

// Beside the plain forms: drop anywhere, a bar while the file is on its way, and what happens then.
"use strict";
(() => {
  const drop = document.getElementById("drop");
  if (!drop) return;
  const input = drop.querySelector("input[type=file]");
  const forms = [drop, document.getElementById("fetch")].filter(Boolean);

  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) {
    document.addEventListener(kind, () => drop.classList.remove("over"));
  }
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer && event.dataTransfer.files.length) {
      input.files = event.dataTransfer.files;
      drop.requestSubmit();
    }
  });

  for (const form of forms) {
    const bar = form.querySelector("progress");
    const status = document.createElement("p");
    status.setAttribute("role", "status");
    form.append(status);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(form, bar, status);
    });
  }

  function busy(on) {
    for (const form of forms) form.querySelector("button").disabled = on;
  }

  function send(form, bar, status) {
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    if (form === drop) {
      request.upload.addEventListener("progress", (sent) => {
        if (sent.lengthComputable) bar.value = (100 * sent.loaded) / sent.total;
      });
    }
    // The answer is a page that grows: show each part as it comes, the last one as a page.
    request.addEventListener("progress", () => {
      const all = request.responseText.split('<p class="step">');
      if (all.length > 1) {
        bar.removeAttribute("value"); // from here on nobody knows how long it takes
        const last = all[all.length - 1].split("</p>")[0];
        const text = new DOMParser().parseFromString(last, "text/html").body.textContent;
        if (text !== status.textContent) status.textContent = text; // read out only when it changes
      }
    });
    request.addEventListener("load", () => {
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      const main = page.getElementById("main");
      if (!main) { form.submit(); return; }
      document.title = page.title;
      document.getElementById("main").replaceWith(document.adoptNode(main));
      const title = document.querySelector("h1");
      if (title) { title.tabIndex = -1; title.focus(); }
      window.scrollTo(0, 0);
    });
    request.addEventListener("error", () => { busy(false); bar.hidden = true; form.submit(); });
    status.textContent = form.dataset.sending;
    bar.hidden = false;
    busy(true);
    request.send(new FormData(form));
  }
})();

// Beside the plain form: drop anywhere, and a bar while the file is on its way.
"use strict";
(() => {
  const form = document.getElementById("drop");
  if (!form) return;
  const input = form.querySelector("input[type=file]");
  const bar = document.getElementById("sent");
  const button = form.querySelector("button");

  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => { event.preventDefault(); form.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) {
    document.addEventListener(kind, () => form.classList.remove("over"));
  }
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer && event.dataTransfer.files.length) {
      input.files = event.dataTransfer.files;
      form.requestSubmit();
    }
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.upload.addEventListener("progress", (sent) => {
      if (sent.lengthComputable) bar.value = (100 * sent.loaded) / sent.total;
    });
    // The answer is a page that grows: show each part as it comes, the last one as a page.
    const step = () => {
      const all = request.responseText.split('<p class="step">');
      if (all.length > 1) {
        bar.hidden = true;
        const last = all[all.length - 1].split("</p>")[0];
        status.textContent = new DOMParser().parseFromString(last, "text/html").body.textContent;
      }
    };
    const status = document.createElement("p");
    status.setAttribute("role", "status");
    form.append(status);
    request.addEventListener("progress", step);
    request.addEventListener("load", () => {
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      document.title = page.title;
      document.getElementById("main").replaceWith(document.adoptNode(page.getElementById("main")));
      const title = document.querySelector("h1");
      if (title) { title.tabIndex = -1; title.focus(); }
      window.scrollTo(0, 0);
    });
    request.addEventListener("error", () => { button.disabled = false; bar.hidden = true; form.submit(); });
    bar.hidden = false;
    button.disabled = true;
    request.send(new FormData(form));
  });
})();

// All that a page can make a browser send by itself, to each of the addresses given. Answers what came of each; a page
// of another origin mostly learns nothing.
async ({url, changes, reads, streams}) => {
  const doing = [];
  const note = (what, begin) => {
    const late = new Promise(done => setTimeout(done, 15000, "no answer"));
    const came = Promise.race([begin(), late]).catch(fault => String(fault));
    doing.push(came.then(came => [what, String(came)]));
  };
  const put = (tag, properties, parent = document.body) =>
    parent.appendChild(Object.assign(document.createElement(tag), properties));
  const told = answer => (answer.type === "opaque" ? "opaque" : answer.status);

  // Into a frame, so that the page stays where it is.
  const submit = (method, path, enctype, fields) => () => new Promise(done => {
    const frame = put("iframe", {name: `frame-${Math.random()}`});
    const form = put("form", {method, action: url + path, enctype, target: frame.name});
    for (const [name, value] of fields) put("input", {name, value}, form);
    frame.onload = () => done("loaded");
    form.submit();
  });

  for (const [method, path, body] of changes) {
    const text = JSON.stringify(body);
    if (method === "POST") {
      // In text/plain a field is written `name=value`, so that both halves together are JSON.
      const halves = [[`${text.slice(0, -1)}, "x": "`, '"}']];
      note(`form text/plain ${path}`, submit("post", path, "text/plain", halves));
      for (const type of ["application/x-www-form-urlencoded", "multipart/form-data"])
        note(`form ${type} ${path}`, submit("post", path, type, Object.entries(body)));
      const hidden = {method, mode: "no-cors", credentials: "include", body: text};
      note(`no-cors ${path}`, async () => told(await fetch(url + path, hidden)));
      const blob = new Blob([text], {type: "text/plain"});
      note(`beacon ${path}`, async () => navigator.sendBeacon(url + path, blob));
      note(`ping ${path}`, async () => put("a", {href: "#x", ping: url + path}).click());
    }
    for (const type of ["application/json", "text/plain"]) {
      const open = {method, credentials: "include", body: text, headers: {"Content-Type": type}};
      note(`cors ${type} ${method} ${path}`, async () => told(await fetch(url + path, open)));
      const late = {...open, keepalive: true};
      note(`keepalive ${type} ${method} ${path}`, async () => told(await fetch(url + path, late)));
      note(`XMLHttpRequest ${type} ${method} ${path}`, () => new Promise(done => {
        const request = new XMLHttpRequest();
        request.open(method, url + path);
        request.withCredentials = true;
        request.setRequestHeader("Content-Type", type);
        request.onloadend = () => done(request.status);
        request.send(text);
      }));
    }
  }

  const loads = [["img", "src"], ["script", "src"], ["iframe", "src"], ["object", "data"], ["embed", "src"],
                 ["video", "src"], ["link", "href"]];
  for (const path of reads) {
    for (const [tag, attribute] of loads)
      note(`${tag} ${path}`, () => new Promise(done => {
        const rel = tag === "link" ? {rel: "stylesheet"} : {};
        put(tag, {...rel, [attribute]: url + path, onload: () => done("loaded"), onerror: () => done("refused")});
        // Some say nothing about what they could not load.
        setTimeout(done, 2000, "no event");
      }));
    note(`form get ${path}`, submit("get", path, "", [["name", "other"]]));
  }

  for (const path of streams) {
    note(`WebSocket ${path}`, () => new Promise(done => {
      const socket = new WebSocket(url.replace("http", "ws") + path);
      socket.onopen = () => done("open");
      socket.onerror = () => done("refused");
    }));
    note(`EventSource ${path}`, () => new Promise(done => {
      const source = new EventSource(url + path, {withCredentials: true});
      source.onopen = () => done("open");
      source.onerror = () => { source.close(); done("refused"); };
    }));
  }
  return Promise.all(doing);
}

'use strict';
// The server renders the page; this script keeps it up to date. An event on the stream has the page fetched
// again, at most a few times a second, and only what differs is changed, so that focus, selection and scroll
// positions stay. No text becomes markup here: the browser parses what the server sent.
(() => {
  const panel = document.getElementById('panel');
  const page = panel || document.getElementById('instance');
  if (!page) return;
  const byId = id => document.getElementById(id);
  const dialog = byId('details');
  const news = byId('news');
  const pause = byId('pause');

  // How far the server's clock is ahead of this one, in ms.
  let ahead = Number(page.dataset.now) - Date.now();
  let after = page.dataset.after || '';
  let source = null, fetching = false, again = false, timer = 0, cost = 0;
  let paused = false, waiting = 0, over = false, opened = '';

  const span = ms => {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return s + 's';
    if (s < 3600) return Math.floor(s / 60) + 'm ' + s % 60 + 's';
    if (s < 86400) return Math.floor(s / 3600) + 'h ' + Math.floor(s % 3600 / 60) + 'm';
    return Math.floor(s / 86400) + 'd ' + Math.floor(s % 86400 / 3600) + 'h';
  };
  const two = n => String(n).padStart(2, '0');
  const clock = ms => {
    const d = new Date(ms), day = d.getFullYear() + '-' + two(d.getMonth() + 1) + '-' + two(d.getDate());
    return day + ' ' + two(d.getHours()) + ':' + two(d.getMinutes()) + ':' + two(d.getSeconds());
  };
  const set = (node, text) => { if (node.textContent !== text) node.textContent = text; };

  // Ages by this moment, and times in this reader's zone.
  const tick = root => {
    const now = Date.now() + ahead;
    for (const node of root.querySelectorAll('[data-age]')) set(node, span(now - node.dataset.age));
  };
  const dress = root => {
    tick(root);
    for (const node of root.querySelectorAll('[data-clock]')) set(node, clock(Number(node.dataset.clock)));
    for (const node of root.querySelectorAll('#zone')) set(node, 'times in your time zone');
  };

  // Makes the children of one element those of another, keeping the nodes that are the same.
  const patch = (old, fresh) => {
    const known = new Map([...old.children].map(node => [node.id, node]));
    let place = old.firstElementChild;
    for (const node of [...fresh.children]) {
      let own = known.get(node.id);
      known.delete(node.id);
      if (!own) {
        own = document.adoptNode(node);
        own.classList.add('changed');
      } else if (!own.isEqualNode(node)) {
        renew(own, node);
        own.classList.add('changed');
      }
      if (own === place) place = place.nextElementSibling;
      else old.insertBefore(own, place);
    }
    for (const node of known.values()) node.remove();
  };
  // Changes attributes and cells, but not the elements that may have the focus.
  const renew = (old, fresh) => {
    old.className = fresh.className;
    const cells = [...old.children], others = [...fresh.children];
    if (cells.length !== others.length) return old.replaceChildren(...[...fresh.childNodes].map(n => document.adoptNode(n)));
    cells.forEach((cell, i) => { if (!cell.isEqualNode(others[i])) cell.replaceWith(document.adoptNode(others[i])); });
  };
  const swap = (old, fresh) => {
    if (old && fresh && !old.isEqualNode(fresh)) old.replaceWith(document.adoptNode(fresh));
  };

  const fetchPage = (address, done) => {
    const request = new XMLHttpRequest();
    request.open('GET', address);
    request.responseType = 'document';
    request.timeout = 20000;
    request.onloadend = () => done(request.status, request.response);
    request.send();
  };

  const refresh = () => {
    if (paused || over || document.hidden || !panel) return;
    if (fetching) { again = true; return; }
    clearTimeout(timer);
    fetching = true;
    again = false;
    const begun = performance.now();
    fetchPage(location.href, (status, fresh) => {
      fetching = false;
      if (status === 200 && fresh && fresh.getElementById('panel')) requestAnimationFrame(() => { if (!paused) apply(fresh); });
      else if (status === 401 || status === 403 || (status === 200 && fresh)) stop('Signed out: reload the page');
      else disconnected();
      cost = performance.now() - begun;
      timer = setTimeout(refresh, again ? Math.max(200, 3 * cost) : 5000);
    });
  };

  // Part by part, each in a frame of its own, so that a large page stays responsive.
  const apply = fresh => {
    const main = fresh.getElementById('panel');
    for (const node of document.querySelectorAll('.changed')) node.classList.remove('changed');
    ahead = Number(main.dataset.now) - Date.now();
    if (main.dataset.after) after = main.dataset.after;
    dress(fresh);
    const counts = () => byId('summary').querySelector('.counts').textContent;
    const before = byId('connection').className + counts();
    const parts = [
      () => ['summary', 'releases', 'goal-text', 'heads', 'note'].forEach(id => swap(byId(id), fresh.getElementById(id))),
      () => keepFocus(() => patch(byId('rows'), fresh.getElementById('rows'))),
      () => patch(byId('event-list'), fresh.getElementById('event-list')),
      () => swap(byId('lives'), fresh.getElementById('lives')),
    ];
    const next = () => {
      const part = parts.shift();
      if (!part) return;
      part();
      requestAnimationFrame(next);
    };
    next();
    if (byId('connection').className + counts() !== before) say(counts());
    document.title = fresh.title;
    if (!source && !over) follow();
  };
  const keepFocus = change => {
    const active = document.activeElement;
    const row = active && active.closest('tr[id]');
    change();
    if (!row || document.activeElement === active) return;
    const own = byId(row.id);
    if (own) own.querySelector('a').focus({ preventScroll: true });
  };

  let spoken = 0, speech = 0;
  const say = text => {
    if (!news) return;
    clearTimeout(speech);
    speech = setTimeout(() => { spoken = Date.now(); set(news, text); }, Math.max(0, spoken + 5000 - Date.now()));
  };
  const disconnected = () => {
    const line = byId('connection');
    if (!line || line.className === 'lost') return;
    line.className = 'lost';
    set(line, '✕ no connection to paasbus; what is shown may be out of date');
    say('connection lost');
  };
  const stop = text => {
    over = true;
    if (source) source.close();
    source = null;
    const line = byId('connection');
    if (line) { line.className = 'lost'; set(line, text); }
    say(text);
  };

  const happened = event => {
    if (event.lastEventId) after = event.lastEventId;
    if (paused) { waiting++; set(pause.firstElementChild, 'Resume (' + waiting + ' waiting)'); return; }
    if (fetching || cost > 100) { again = true; if (!fetching) { clearTimeout(timer); timer = setTimeout(refresh, 2 * cost); } }
    else refresh();
    if (opened) show(opened, true);
  };
  const follow = () => {
    if (source || over || document.hidden || !panel) return;
    source = new EventSource('api/v1/events' + (after ? '?after=' + after : ''));
    for (const type of ['start', 'stopping', 'stop', 'lost', 'back', 'forgotten', 'gap', 'reset', 'retracted', 'connection']) {
      source.addEventListener(type, happened);
    }
    source.onopen = refresh;
    source.onerror = () => {
      // After an answer that is no stream, the browser gives up.
      const ended = source && source.readyState === EventSource.CLOSED;
      disconnected();
      if (ended) { source = null; setTimeout(refresh, 1000); }
    };
  };

  // A hidden tab holds no connection: a browser opens only six to a host.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) { if (source) source.close(); source = null; clearTimeout(timer); }
    else { refresh(); follow(); }
  });

  const closeButton = () => {
    const close = document.createElement('button');
    close.textContent = 'Close';
    close.addEventListener('click', () => dialog.close());
    return close;
  };

  // Details without leaving the page. What is shown again is not opened again where it was closed meanwhile.
  const show = (address, again = false) => {
    opened = address;
    fetchPage(address, (status, fresh) => {
      const main = fresh && fresh.getElementById('instance');
      if (!main || opened !== address || (again && !dialog.open)) return;
      dress(fresh);
      for (const link of main.querySelectorAll('a')) link.parentElement.remove();
      main.removeAttribute('id');
      dialog.replaceChildren(document.adoptNode(main), closeButton());
      if (!dialog.open) dialog.showModal();
    });
  };
  if (dialog) dialog.addEventListener('close', () => { opened = ''; });
  document.addEventListener('click', event => {
    const link = event.target.closest('a[href^="instances/"]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || !dialog) return;
    event.preventDefault();
    show(link.href);
  });

  // The filter, the order, the range and the goal stand in the address.
  const go = address => { history.replaceState(null, '', address); again = true; refresh(); };
  for (const id of ['filter-form', 'goal-form']) {
    const form = byId(id);
    if (!form) continue;
    const submit = () => {
      const data = new URLSearchParams(location.search);
      for (const field of form.elements) if (field.name && field.type !== 'hidden') data.delete(field.name);
      for (const [name, value] of new FormData(form)) if (value) data.set(name, value);
      if (id === 'goal-form') data.set('from', Math.round(Date.now() + ahead));
      if (id === 'goal-form' && !data.get('goal')) ['goal', 'release', 'from'].forEach(name => data.delete(name));
      const text = data.toString();
      go('./' + (text ? '?' + text : ''));
    };
    form.addEventListener('submit', event => { event.preventDefault(); document.activeElement.blur(); submit(); });
    if (id === 'filter-form') byId('filter').addEventListener('input', submit);
  }
  document.addEventListener('click', event => {
    const link = event.target.closest('#heads a, #lives small a, #goal-text a');
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(link.getAttribute('href'));
  });

  const toggle = () => {
    paused = !paused;
    waiting = 0;
    pause.setAttribute('aria-pressed', paused);
    set(pause.firstElementChild, paused ? 'Resume (0 waiting)' : 'Pause');
    if (!paused) refresh();
  };
  if (pause) { pause.hidden = false; pause.addEventListener('click', toggle); }
  document.addEventListener('keydown', event => {
    if (!panel || event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    if (event.target.closest('input')) { if (event.key === 'Escape') event.target.blur(); return; }
    const links = [...document.querySelectorAll('#rows th a')];
    const index = links.indexOf(document.activeElement);
    if (event.key === 'j' && links.length) links[Math.min(links.length - 1, index + 1)].focus();
    else if (event.key === 'k' && links.length) links[Math.max(0, index - 1)].focus();
    else if (event.key === '/') byId('filter').focus();
    else if (event.key === 'p') toggle();
    else if (event.key === '?') help();
    else return;
    event.preventDefault();
  });
  const help = () => {
    const list = document.createElement('dl');
    for (const [key, text] of [['j, k', 'next and previous instance'], ['Enter', 'details'], ['/', 'filter'], ['p', 'pause'], ['?', 'this help'], ['Escape', 'close']]) {
      const name = document.createElement('dt'), value = document.createElement('dd');
      name.textContent = key;
      value.textContent = text;
      list.append(name, value);
    }
    const heading = document.createElement('h2');
    heading.textContent = 'Keys';
    dialog.replaceChildren(heading, list, closeButton());
    dialog.showModal();
  };

  dress(document);
  setInterval(() => { if (!document.hidden && !paused) tick(document); }, 1000);
  if (panel) { follow(); timer = setTimeout(refresh, 5000); }
})();

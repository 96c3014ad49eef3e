// Live mode in the browser. The webcam's frames go to the server one at a time: the next one is sent when
// the answer is here, and the answer is drawn on the very frame that it belongs to, which was kept.
//
// Runs once in the gr.HTML component (`element` is its root). Settings arrive as the event "trg:options";
// what the component is doing stands in data- attributes of `.live`, for tests and benchmarks.

const root = element.querySelector('.live');
const find = (name) => root.querySelector('.live-' + name);
const canvas = find('canvas'), video = find('video'), stage = canvas.getContext('2d', { willReadFrequently: true });
const pictures = [0, 1, 2].map(() => document.createElement('canvas'));   // one is away, one is taken, one is being drawn
const toggle = find('toggle'), zero = find('zero'), clear = find('clear'), cameras = find('camera');

const JPEG_QUALITY = 0.8, WIDTH = 640, HEIGHT = 480, READOUT_EVERY_MS = 100, RETRY_AFTER_ERROR_MS = 500, MAX_WAIT_MS = 34, TOO_OLD_MS = 80;
const WINDOW = 30, fontFamily = getComputedStyle(root).fontFamily;

let run = null;      // what belongs to one start: stream, socket, counters

function say(text, isError = false) {
  find('message').textContent = text;
  find('message').classList.toggle('is-error', isError);
}

function setState(state) {
  root.dataset.state = state;
  toggle.textContent = { idle: 'Start webcam', starting: 'Cancel', running: 'Stop' }[state];
  zero.disabled = clear.disabled = state !== 'running';
}

function socketAddress() {
  const base = new URL(window.gradio_config?.root || document.baseURI, document.baseURI);
  const path = base.pathname.replace(/\/$/, '') + '/live/ws';
  return (location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + path;
}

function whyNoCamera(error) {
  return {
    NotAllowedError: 'The browser did not give the camera: allow it for this page, then start again.',
    NotFoundError: 'There is no camera on this device.',
    NotReadableError: 'The camera is in use by another program: close that, then start again.',
  }[error.name] || 'The camera cannot be opened (' + error.message + ').';
}

async function start() {
  if (!navigator.mediaDevices?.getUserMedia) {
    say('The browser gives the camera only to https pages and to localhost.', true);
    return;
  }
  const mine = run = { sent: 0, answered: 0, drawn: 0, most: 0, times: [], delays: [], shown: 0, failed: false };
  root.dataset.frames = root.dataset.inFlightMax = '0';
  setState('starting');
  say('Waiting for the camera …');
  const wanted = { width: { ideal: WIDTH }, height: { ideal: HEIGHT }, frameRate: { ideal: 30 } };
  if (cameras.value) wanted.deviceId = { exact: cameras.value }; else wanted.facingMode = 'user';
  try {
    mine.stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  } catch (error) {
    if (run === mine) end(whyNoCamera(error), true);
    return;
  }
  if (run !== mine) { release(mine); return; }
  mine.stream.getVideoTracks()[0].addEventListener('ended', () => run === mine && end('The camera was disconnected.', true));
  video.srcObject = mine.stream;
  await video.play();
  if (run !== mine) return;
  await listCameras(mine.stream);
  say('Connecting …');
  connect(mine);
}

function connect(mine) {
  const socket = mine.socket = new WebSocket(socketAddress());
  socket.binaryType = 'arraybuffer';
  let done = Promise.resolve();       // one answer after the other: a mesh takes a moment to be opened
  socket.onmessage = (event) => { done = done.then(() => run === mine && receive(mine, JSON.parse(event.data))); };
  socket.onclose = () => {
    if (run !== mine || mine.failed) return;
    end(mine.opened ? 'The server ended the connection.'
      : 'The live connection was refused: use "Without websocket" below.', true);
  };
}

async function receive(mine, message) {
  if (message.type === 'ready') {
    mine.opened = true;
    setState('running');
    say('');
    sendOptions();
    watchCamera(mine);
    prepare(mine);
  } else if (message.type === 'frame') {
    const answered = mine.flying;
    mine.answered += 1;
    mine.flying = null;
    mine.drawing = answered;      // its canvas is not used for the next frame before it is drawn
    sendPrepared(mine);
    const patch = message.patch && await openPatch(message.patch);
    if (run !== mine) return;
    draw(mine, answered, message, patch);
    mine.drawing = null;
    prepare(mine);
  } else if (message.type === 'error') {
    say(message.message, true);
    if (message.fatal) { mine.failed = true; end(message.message, true); return; }
    if (message.frame !== undefined) {
      mine.answered += 1;
      mine.flying = mine.prepared = null;
      setTimeout(() => prepare(mine), RETRY_AFTER_ERROR_MS);
    }
  } else if (message.type === 'bye') {
    root.dataset.serverInFlightMax = message.in_flight_max;
    root.dataset.serverFrames = message.frames;
  }
}

// A camera is slower than a fast server: the same frame twice would only heat the room. A page that draws
// slowly announces frames late, so the wait is short.
function whenNextFrame(mine, then) {
  let timer = 0;
  const go = () => { clearTimeout(timer); mine.waiting = null; mine.fresh = false; if (run === mine) then(); };
  if (mine.fresh) { go(); return; }
  mine.waiting = go;
  timer = setTimeout(go, MAX_WAIT_MS);
}

function watchCamera(mine) {
  if (!video.requestVideoFrameCallback) return;
  video.requestVideoFrameCallback(() => {
    if (run !== mine) return;
    watchCamera(mine);
    if (mine.waiting) mine.waiting(); else mine.fresh = true;
  });
}

// While the server works on one frame the next is taken and compressed, so that it can leave at once.
function prepare(mine) {
  if (run !== mine || mine.preparing || mine.prepared) return;
  mine.preparing = true;
  whenNextFrame(mine, () => {
    if (!element.isConnected || !root.offsetParent) { stop(); return; }
    const width = video.videoWidth, height = video.videoHeight;
    if (!width) { mine.preparing = false; setTimeout(() => prepare(mine), 30); return; }
    const picture = pictures.find((one) => one !== mine.flying?.picture && one !== mine.drawing?.picture);
    if (picture.width !== width || picture.height !== height) { picture.width = width; picture.height = height; }
    picture.getContext('2d', { willReadFrequently: true }).drawImage(video, 0, 0, width, height);
    const takenAt = performance.now();
    picture.toBlob(async (blob) => {
      const jpeg = new Uint8Array(await blob.arrayBuffer());
      if (run !== mine) return;
      mine.preparing = false;
      mine.prepared = { picture, jpeg, takenAt };
      sendPrepared(mine);
      prepare(mine);
    }, 'image/jpeg', JPEG_QUALITY);
  });
}

function sendPrepared(mine) {
  if (run !== mine || mine.flying || !mine.prepared || mine.socket.readyState !== WebSocket.OPEN) return;
  if (performance.now() - mine.prepared.takenAt > TOO_OLD_MS) { mine.prepared = null; return; }
  mine.flying = mine.prepared;
  mine.prepared = null;
  mine.flying.number = mine.sent;
  const packet = new Uint8Array(4 + mine.flying.jpeg.length);
  new DataView(packet.buffer).setUint32(0, mine.sent, true);
  packet.set(mine.flying.jpeg, 4);
  mine.socket.send(packet);
  mine.sent += 1;
  mine.most = Math.max(mine.most, mine.sent - mine.answered);
}

// The part of the frame on which the server drew meshes; without it the frame is shown all the same.
function openPatch(patch) {
  const jpeg = Uint8Array.from(atob(patch.jpeg), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([jpeg], { type: 'image/jpeg' })).catch(() => null);
}

function draw(mine, frame, answer, patch) {
  if (!frame || frame.number !== answer.frame) return;      // never on another frame than its own
  const picture = frame.picture;
  if (canvas.width !== picture.width || canvas.height !== picture.height) { canvas.width = picture.width; canvas.height = picture.height; }
  const mirrored = find('mirror').checked;
  stage.save();
  if (mirrored) { stage.translate(canvas.width, 0); stage.scale(-1, 1); }
  stage.drawImage(picture, 0, 0);
  if (patch) { stage.drawImage(patch, answer.patch.x, answer.patch.y); patch.close(); }
  for (const shape of answer.draw.shapes) if (shape.kind !== 'label') paint[shape.kind](stage, shape, 1 / answer.draw.scale);
  stage.restore();
  for (const shape of answer.draw.shapes) if (shape.kind === 'label') paintLabel(stage, shape, mirrored);
  mine.drawn += 1;
  const now = performance.now();
  mine.times.push(now);
  mine.delays.push(now - frame.takenAt);
  if (mine.times.length > WINDOW) { mine.times.shift(); mine.delays.shift(); }
  Object.assign(root.dataset, {
    frames: mine.drawn, inFlightMax: mine.most, faces: answer.faces.length,
    serverInFlightMax: answer.in_flight_max, dropped: answer.dropped, serverMs: answer.server_ms,
  });
  if (now - mine.shown > READOUT_EVERY_MS) { mine.shown = now; readOut(mine, answer); }
}

// The shapes of viewer/render/shapes.py: points are whole numbers, `unit` makes pixels of them.
const paint = {
  segments(to, shape, unit) {
    to.globalAlpha = shape.alpha;
    to.strokeStyle = shape.colour;
    to.lineWidth = shape.width;
    to.lineCap = 'round';
    to.beginPath();
    for (let i = 0, p = shape.points; i < p.length; i += 4) {
      to.moveTo(p[i] * unit, p[i + 1] * unit);
      to.lineTo(p[i + 2] * unit, p[i + 3] * unit);
    }
    to.stroke();
    to.globalAlpha = 1;
  },
  dots(to, shape, unit) {
    to.globalAlpha = shape.alpha;
    to.fillStyle = shape.colour;
    to.beginPath();
    for (let i = 0, p = shape.points; i < p.length; i += 2) {
      to.moveTo(p[i] * unit + shape.radius, p[i + 1] * unit);
      to.arc(p[i] * unit, p[i + 1] * unit, shape.radius, 0, 7);
    }
    to.fill();
    to.globalAlpha = 1;
  },
};

function paintLabel(to, label, mirrored) {
  const h = label.height, pad = 0.35 * h, bar = 0.28 * h;
  to.font = h + 'px ' + fontFamily;
  const width = to.measureText(label.text).width + 2 * pad + bar;
  const wanted = mirrored ? canvas.width - label.x - width : label.x;
  const x = Math.max(2, Math.min(wanted, canvas.width - width - 2)), y = label.y - 1.4 * h;
  to.fillStyle = 'rgba(17, 20, 28, 0.8)';
  to.beginPath();
  to.roundRect(x, y, width, 1.4 * h, 0.25 * h);
  to.fill();
  to.fillStyle = label.colour;
  to.fillRect(x, y, bar, 1.4 * h);
  to.fillStyle = '#f5f7fa';
  to.textBaseline = 'middle';
  to.fillText(label.text, x + bar + pad, y + 0.72 * h);
}

function readOut(mine, answer) {
  const spanMs = mine.times.at(-1) - mine.times[0];
  const fps = spanMs > 0 ? (mine.times.length - 1) / spanMs * 1000 : 0;
  const latency = [...mine.delays].sort((a, b) => a - b)[mine.delays.length >> 1];
  find('fps').textContent = fps.toFixed(0);
  find('latency').textContent = latency.toFixed(0);
  root.dataset.fps = fps.toFixed(2);
  root.dataset.latencyMs = latency.toFixed(1);
  fillTable(answer.faces);
  const relative = answer.faces.some((face) => face.relative);
  find('note').textContent = 'Camera: ' + answer.camera + '. Model: ' + answer.model + '.'
    + (answer.mesh_note ? ' ' + answer.mesh_note : '')
    + (relative ? ' Angles and position are relative to your zero.' : '')
    + (answer.faces.length ? ' ± is the expected error of the rotation, from ' + answer.faces[0].uncertainty_source + '.' : '');
}

function fillTable(faces) {
  const body = find('faces').tBodies[0];
  while (body.rows.length > Math.max(faces.length, 1)) body.deleteRow(-1);
  while (body.rows.length < Math.max(faces.length, 1)) body.insertRow();
  if (!faces.length) {
    if (body.rows[0].cells.length !== 1) {
      body.rows[0].innerHTML = '<td colspan="10" class="faces-none">No face in the picture</td>';
    }
    return;
  }
  faces.forEach((face, i) => {
    const row = body.rows[i];
    if (row.cells.length !== 10) row.innerHTML = '<td></td>'.repeat(10);
    const number = (value, digits) => value === null ? '–' : value.toFixed(digits);
    const values = [
      face.track_id, number(face.yaw_deg, 1), number(face.pitch_deg, 1), number(face.roll_deg, 1),
      number(face.x_mm, 0), number(face.y_mm, 0), number(face.z_mm, 0), number(face.distance_mm, 0),
      number(face.uncertainty_deg, 1), number(face.confidence * 100, 0) + ' %',
    ];
    values.forEach((value, k) => { row.cells[k].textContent = value; });
  });
}

async function listCameras(stream) {
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === 'videoinput');
  cameras.hidden = devices.length < 2;
  const now = stream.getVideoTracks()[0].getSettings().deviceId;
  cameras.replaceChildren(...devices.map((one, i) => new Option(one.label || 'Camera ' + (i + 1), one.deviceId, false, one.deviceId === now)));
}

function command(message) {
  if (run?.socket?.readyState === WebSocket.OPEN) run.socket.send(JSON.stringify(message));
}

function sendOptions() {
  if (window.trgOptions) command({ type: 'settings', settings: window.trgOptions });
}

function release(mine) {
  for (const track of mine.stream?.getTracks() || []) track.stop();
  if (video.srcObject === mine.stream) video.srcObject = null;
}

// Everything that belongs to a start goes: the camera's light is off, the server has freed its part.
function end(text, isError = false) {
  const mine = run;
  run = null;
  if (mine) {
    release(mine);
    if (mine.socket) {
      mine.socket.onmessage = (event) => { const message = JSON.parse(event.data); if (message.type === 'bye') receive(mine, message); };
      mine.socket.onclose = () => { root.dataset.closed = 'true'; };
      if (mine.socket.readyState === WebSocket.OPEN && !isError) mine.socket.send(JSON.stringify({ type: 'stop' }));
      else mine.socket.close();
    }
  }
  setState('idle');
  say(text, isError);
}

function stop() {
  const frames = run ? run.drawn : 0;
  end('Stopped after ' + frames + ' frames. None was stored.');
}

toggle.addEventListener('click', () => { root.dataset.closed = 'false'; if (run) stop(); else start(); });
zero.addEventListener('click', () => command({ type: 'zero' }));
clear.addEventListener('click', () => command({ type: 'clear_zero' }));
cameras.addEventListener('change', () => { if (run) { end(''); start(); } });
find('mirror').addEventListener('change', () => { root.dataset.mirror = find('mirror').checked; });
window.addEventListener('trg:options', sendOptions);
window.addEventListener('pagehide', () => run && end(''));
setState('idle');

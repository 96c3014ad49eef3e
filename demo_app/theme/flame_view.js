// Heads in WebGL, lit from the viewer's side. The view stays while vertices change. One or two heads, each in its half.
// Where a processor draws in place of a graphics card, a moving head is drawn coarser until it rests.

const LIT = `#version 300 es
in vec3 place; in vec3 normal; in vec3 colour;
uniform mat4 projection, view; uniform float size, towards;
out vec3 n, c;
void main() {
  vec4 eye = view * vec4(place, 1.0);
  eye.z += towards;
  n = mat3(view) * normal; c = colour;
  gl_Position = projection * eye; gl_PointSize = size;
}`;
const PAINT = `#version 300 es
precision mediump float;
in vec3 n, c; out vec4 pixel; uniform float lit; uniform bool dots;
void main() {
  if (dots && length(gl_PointCoord - 0.5) > 0.5) discard;
  vec3 out_of_surface = normalize(gl_FrontFacing ? n : -n);
  float key = max(dot(out_of_surface, normalize(vec3(-0.45, 0.55, 0.75))), 0.0), fill = max(dot(out_of_surface, normalize(vec3(0.6, -0.1, 0.6))), 0.0);
  float light = 0.34 + 0.55 * key + 0.22 * fill;
  pixel = vec4(c * mix(1.0, min(light, 1.08), lit), 1.0);
}`;

function isSoftware() {
  const probe = document.createElement('canvas').getContext('webgl2'), info = probe?.getExtension('WEBGL_debug_renderer_info');
  const name = info ? probe.getParameter(info.UNMASKED_RENDERER_WEBGL) : '';
  probe?.getExtension('WEBGL_lose_context')?.loseContext();
  return /swiftshader|llvmpipe|software|basic render/i.test(name);
}

function createView(canvas) {
  const software = isSoftware(), RESTED_MS = 250;
  const gl = canvas.getContext('webgl2', { antialias: !software, alpha: true, preserveDrawingBuffer: false });
  if (!gl) return null;
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, LIT], [gl.FRAGMENT_SHADER, PAINT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  const at = Object.fromEntries(['place', 'normal', 'colour'].map((name) => [name, gl.getAttribLocation(program, name)]));
  const set = Object.fromEntries(['projection', 'view', 'size', 'towards', 'lit', 'dots'].map((name) => [name, gl.getUniformLocation(program, name)]));
  const start = { yaw: 0.35, pitch: 0.08, zoom: 1 };
  let heads = [], camera = { ...start }, wires = false, points = true, waiting = false, callbacks = [], rested = null, pixels = 1;

  function normalsOf(vertices, triangles) {
    const normals = new Float32Array(vertices.length);
    for (let k = 0; k < triangles.length; k += 3) {
      const a = 3 * triangles[k], b = 3 * triangles[k + 1], c = 3 * triangles[k + 2];
      const ux = vertices[b] - vertices[a], uy = vertices[b + 1] - vertices[a + 1], uz = vertices[b + 2] - vertices[a + 2];
      const vx = vertices[c] - vertices[a], vy = vertices[c + 1] - vertices[a + 1], vz = vertices[c + 2] - vertices[a + 2];
      const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
      for (const i of [a, b, c]) { normals[i] += x; normals[i + 1] += y; normals[i + 2] += z; }
    }
    for (let i = 0; i < normals.length; i += 3) {
      const length = Math.hypot(normals[i], normals[i + 1], normals[i + 2]) || 1;
      normals[i] /= length; normals[i + 1] /= length; normals[i + 2] /= length;
    }
    return normals;
  }

  function buffer(target, data) {
    const made = gl.createBuffer();
    gl.bindBuffer(target, made);
    gl.bufferData(target, data, gl.DYNAMIC_DRAW);
    return made;
  }

  function measured(head) {
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    head.vertices.forEach((value, i) => { low[i % 3] = Math.min(low[i % 3], value); high[i % 3] = Math.max(high[i % 3], value); });
    return Object.assign(head, { middle: low.map((value, i) => (value + high[i]) / 2), radius: Math.hypot(...low.map((value, i) => high[i] - value)) / 2 });
  }

  function newHead(given) {
    const head = { ...given, lines: null };
    head.array = gl.createVertexArray();
    gl.bindVertexArray(head.array);
    head.buffers = {};
    const normals = normalsOf(given.vertices, given.triangles);
    for (const [name, data, kind, normalised] of [['place', given.vertices, gl.FLOAT, false], ['normal', normals, gl.FLOAT, false], ['colour', given.colours, gl.UNSIGNED_BYTE, true]]) {
      head.buffers[name] = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, head.buffers[name]);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
      gl.enableVertexAttribArray(at[name]);
      gl.vertexAttribPointer(at[name], 3, kind, normalised, 0, 0);
    }
    head.faces = buffer(gl.ELEMENT_ARRAY_BUFFER, given.triangles);
    gl.bindVertexArray(null);
    return measured(head);
  }

  function forget(head) {
    gl.deleteVertexArray(head.array);
    for (const one of [...Object.values(head.buffers), head.faces, head.lines, head.dots?.buffer]) if (one) gl.deleteBuffer(one);
  }

  function edges(head) {
    if (!head.lines) {
      const ids = new Uint32Array(head.triangles.length * 2);
      for (let k = 0; k < head.triangles.length; k += 3) {
        const [a, b, c] = head.triangles.subarray(k, k + 3);
        ids.set([a, b, b, c, c, a], 2 * k);
      }
      gl.bindVertexArray(null);
      head.lines = buffer(gl.ELEMENT_ARRAY_BUFFER, ids);
    }
    return head.lines;
  }

  function matrices(head, aspect) {
    const f = 1 / Math.tan(Math.PI / 18), near = 0.02, far = 20;
    const distance = (1.02 * head.radius / Math.sin(Math.PI / 18)) * Math.max(1, 0.82 / aspect) * 0.82 / camera.zoom;
    const projection = [f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, 2 * far * near / (near - far), 0];
    const [cy, sy, cx, sx] = [Math.cos(camera.yaw), Math.sin(camera.yaw), Math.cos(camera.pitch), Math.sin(camera.pitch)];
    const R = [[cy, 0, sy], [sx * sy, cx, -sx * cy], [-cx * sy, sx, cx * cy]];
    const t = R.map((row) => -row.reduce((sum, value, i) => sum + value * head.middle[i], 0));
    const view = [R[0][0], R[1][0], R[2][0], 0, R[0][1], R[1][1], R[2][1], 0, R[0][2], R[1][2], R[2][2], 0, t[0], t[1], t[2] - distance, 1];
    return { projection, view };
  }

  function drawHead(head, aspect) {
    const { projection, view } = matrices(head, aspect);
    gl.uniformMatrix4fv(set.projection, false, projection);
    gl.uniformMatrix4fv(set.view, false, view);
    gl.uniform1f(set.towards, 0);
    gl.uniform1f(set.lit, head.lit ?? 1);
    gl.bindVertexArray(head.array);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, head.faces);
    gl.drawElements(gl.TRIANGLES, head.triangles.length, gl.UNSIGNED_INT, 0);
    if (wires) {
      const lines = edges(head);
      gl.bindVertexArray(head.array);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, lines);
      gl.disableVertexAttribArray(at.colour);
      gl.vertexAttrib3f(at.colour, 0.06, 0.3, 0.32);
      gl.uniform1f(set.towards, 0.0004);
      gl.uniform1f(set.lit, 0);
      gl.drawElements(gl.LINES, head.triangles.length * 2, gl.UNSIGNED_INT, 0);
      gl.enableVertexAttribArray(at.colour);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, head.faces);
    }
    gl.bindVertexArray(null);
    if (points && head.landmarks?.length) drawPoints(head);
  }

  function drawPoints(head) {
    head.dots ||= { buffer: gl.createBuffer() };
    gl.bindBuffer(gl.ARRAY_BUFFER, head.dots.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, head.landmarks, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(at.place);
    gl.vertexAttribPointer(at.place, 3, gl.FLOAT, false, 0, 0);
    gl.disableVertexAttribArray(at.normal);
    gl.disableVertexAttribArray(at.colour);
    gl.vertexAttrib3f(at.normal, 0, 0, 1);
    gl.vertexAttrib3f(at.colour, 0.85, 0.33, 0.0);
    gl.uniform1f(set.lit, 0);
    gl.uniform1f(set.towards, 0.004);
    gl.uniform1i(set.dots, 1);
    gl.uniform1f(set.size, Math.max(3.5, Math.min(5.5, canvas.clientHeight / 90)) * pixels);
    gl.drawArrays(gl.POINTS, 0, head.landmarks.length / 3);
    gl.uniform1i(set.dots, 0);
  }

  function draw() {
    waiting = false;
    const scale = pixels = software ? (rested ? 0.5 : 1.5) : Math.min(2, window.devicePixelRatio || 1);
    const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (width && height) {
      if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
      gl.viewport(0, 0, width, height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.enable(gl.DEPTH_TEST);
      gl.useProgram(program);
      const part = width / Math.max(1, heads.length);
      heads.forEach((head, i) => {
        gl.viewport(Math.round(i * part), 0, Math.round(part), height);
        drawHead(head, part / height);
      });
    }
    const done = callbacks;
    callbacks = [];
    done.forEach((one) => one());
  }

  function ask(after, isMoving = false) {
    if (after) callbacks.push(after);
    if (software && isMoving) {
      clearTimeout(rested);
      rested = setTimeout(() => { rested = null; ask(); }, RESTED_MS);
    }
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(draw);
  }

  function turn(yaw, pitch) {
    camera.yaw += yaw;
    camera.pitch = Math.max(-1.5, Math.min(1.5, camera.pitch + pitch));
    ask(null, true);
  }

  const held = new Map();
  canvas.addEventListener('pointerdown', (event) => { held.set(event.pointerId, [event.clientX, event.clientY]); canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener('pointermove', (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    turn((event.clientX - before[0]) * 0.008, (event.clientY - before[1]) * 0.008);
    held.set(event.pointerId, [event.clientX, event.clientY]);
  });
  for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, (event) => held.delete(event.pointerId));
  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    camera.zoom = Math.max(0.4, Math.min(8, camera.zoom * Math.exp(-event.deltaY * 0.0012)));
    ask(null, true);
  }, { passive: false });
  canvas.addEventListener('keydown', (event) => {
    const moves = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
    if (event.key === '+' || event.key === '-') { camera.zoom *= event.key === '+' ? 1.15 : 1 / 1.15; ask(); } else if (moves[event.key]) turn(...moves[event.key]); else return;
    event.preventDefault();
  });
  new ResizeObserver(() => ask()).observe(canvas);

  return {
    ask,
    camera: () => ({ ...camera }),
    restart() { camera = { ...start }; heads.forEach(measured); ask(); },
    show(given) { heads.forEach(forget); heads = given.map(newHead); ask(); },
    heads: () => heads,
    move(vertices, landmarks, after) {
      const head = heads[0];
      head.vertices = vertices;
      head.landmarks = landmarks;
      for (const [name, data] of [['place', vertices], ['normal', normalsOf(vertices, head.triangles)]]) {
        gl.bindBuffer(gl.ARRAY_BUFFER, head.buffers[name]);
        gl.bufferSubData(gl.ARRAY_BUFFER, 0, data);
      }
      ask(after, true);
    },
    paint(colours) {
      gl.bindBuffer(gl.ARRAY_BUFFER, heads[0].buffers.colour);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, colours);
      ask();
    },
    wires(on) { wires = on; ask(); },
    points(on) { points = on; ask(); },
  };
}

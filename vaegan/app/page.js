// Videos that play in step: the one with the controls leads, all others on its stage follow.
const lead = (event) => event.target instanceof HTMLVideoElement && event.target.matches("[data-main]") && event.target;
const followers = (main) => main.closest(".stage").querySelectorAll("video[data-follows]");
const inStep = (main) =>
  followers(main).forEach((video) => {
    const speed = Number(video.dataset.follows), time = main.currentTime * speed;
    video.playbackRate = main.playbackRate * speed;
    if (Math.abs(video.currentTime - time) > 0.06 * speed) video.currentTime = time;
    if (main.paused !== video.paused) main.paused ? video.pause() : video.play().catch(() => {});
  });
for (const name of ["play", "pause", "seeking", "seeked", "timeupdate", "ratechange", "loadeddata"])
  document.addEventListener(name, (event) => lead(event) && inStep(lead(event)), true);

// Live: frames of the camera go out while at most two are under way, results are drawn as they come.
window.vaeganLive = (() => {
  const UNDER_WAY = 2, WIDE = 400;
  const $ = (id) => document.getElementById(id);
  let stream = null, shown = [], run = 0;

  const tell = (words, error = false) => {
    const line = $("live-figures");
    line.className = error ? "error" : "status";
    line.textContent = words;
  };

  function stop(words = "") {
    run += 1;
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    if ($("live-camera")) { $("live-camera").srcObject = null; tell(words); }
  }

  // At once: a browser that is busy lets toBlob wait for up to a second.
  const jpeg = (canvas) => {
    const text = atob(canvas.toDataURL("image/jpeg", 0.85).split(",")[1]);
    return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  };

  async function start(token) {
    stop();
    if (!token) return;
    const mine = run, camera = $("live-camera"), result = $("live-result");
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480, facingMode: "user" } });
    } catch (error) {
      return tell(`The browser gives no camera (${error.name}): allow it for this page, or plug one in.`, true);
    }
    camera.srcObject = stream;
    await camera.play();
    const canvas = document.createElement("canvas");
    canvas.width = WIDE;
    canvas.height = Math.round((WIDE * camera.videoHeight) / camera.videoWidth);
    let underWay = 0, newest = -1, told = 0;
    shown = [];

    async function send() {
      underWay += 1;
      canvas.getContext("2d").drawImage(camera, 0, 0, canvas.width, canvas.height);
      const began = performance.now();
      try {
        const body = jpeg(canvas);
        const answer = await fetch(`live/${token}`, { method: "POST", body, headers: { "x-time": String(began / 1000) } });
        if (mine !== run) return;
        if (answer.status === 410) return stop("Live is over.");
        if (!answer.ok) throw new Error(await answer.text());
        const time = Number(answer.headers.get("x-time"));
        if (answer.status === 200 && time > newest) {
          newest = time;
          const picture = await createImageBitmap(await answer.blob());
          if (result.width !== picture.width) [result.width, result.height] = [picture.width, picture.height];
          result.getContext("2d").drawImage(picture, 0, 0);
          picture.close();
          const now = performance.now();
          shown = [...shown.filter(([at]) => now - at < 3000), [now, now - 1000 * time]];
          if (now - told > 500) {
            told = now;
            const delays = shown.map(([, delay]) => delay).sort((a, b) => a - b);
            const span = (now - shown[0][0]) / 1000;
            const rate = span > 0.2 ? (shown.length - 1) / span : 0;
            const state = answer.headers.get("x-calibrated") === "0" ? "hold still, look at the camera; "
              : answer.headers.get("x-found") === "0" ? "no face; " : "";
            tell(`${state}${rate.toFixed(0)} frames/s, ${delays[delays.length >> 1].toFixed(0)} ms, ` +
              `${answer.headers.get("x-dropped")} dropped`);
          }
        }
      } catch (error) {
        if (mine === run) stop(`Live has ended: ${error.message}`);
      } finally {
        underWay -= 1;
      }
    }

    const next = () => {
      if (mine !== run) return;
      if (underWay < UNDER_WAY) send();
      camera.requestVideoFrameCallback ? camera.requestVideoFrameCallback(next) : setTimeout(next, 33);
    };
    next();
  }

  return { start, stop };
})();

// A file in the wrong place: Gradio says what is not allowed there, this says where it belongs.
const BELONGS = {
  photo: (file) => file.type.startsWith("video/") && "is a video: choose my video, and drop it there",
  video: (file) => file.type.startsWith("image/") && "is a picture: drop it on Photo, or choose a video",
};
const misplaced = (event) => {
  const slot = event.target instanceof Element && event.target.closest("#photo, #video");
  if (!slot && event.type !== "click") return;
  document.querySelector(".misplaced")?.remove();
  const [file] = slot ? (event.dataTransfer?.files ?? event.target.files ?? []) : [];
  const motion = file?.name.endsWith(".motion") && "is a motion: choose my motion file, and drop it there";
  const where = file && (motion || BELONGS[slot.id](file));
  if (!where) return;
  const line = Object.assign(document.createElement("p"), { className: "error misplaced", role: "alert" });
  line.textContent = `${file.name} ${where}`;
  document.getElementById("animate-status")?.append(line);
};
for (const name of ["change", "drop", "click"]) document.addEventListener(name, misplaced, true);

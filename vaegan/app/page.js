// Videos that play in step: the one with the controls leads, all others on its stage follow.
const lead = (event) => event.target instanceof HTMLVideoElement && event.target.matches("[data-main]") && event.target;
const followers = (main) => main.closest(".stage").querySelectorAll("video[data-follows]");
const inStep = (main) =>
  followers(main).forEach((video) => {
    video.playbackRate = main.playbackRate;
    if (Math.abs(video.currentTime - main.currentTime) > 0.06) video.currentTime = main.currentTime;
    if (main.paused !== video.paused) main.paused ? video.pause() : video.play().catch(() => {});
  });
for (const name of ["play", "pause", "seeking", "seeked", "timeupdate", "ratechange", "loadeddata"])
  document.addEventListener(name, (event) => lead(event) && inStep(lead(event)), true);

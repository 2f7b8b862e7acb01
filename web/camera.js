// The camera: a live picture with a shutter where the browser has one, else the phone's own app.

const at = (id) => document.getElementById(id);
const dialog = at("camera");
const video = dialog.querySelector("video");
let stream = null;
let facing = "environment";
let wanted = 0; // which of the streams asked for is to be shown
let busy = false; // one picture at a time: a second stream would stay on

export const hasCamera = () => isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);

/** Resolves with a JPEG, or null when the person cancels; rejects with a sentence if refused. */
export async function shoot() {
  if (busy) return null;
  busy = true;
  try {
    await open();
    return await taken();
  } finally {
    close();
    busy = false;
  }
}

function taken() {
  dialog.showModal();
  return new Promise((resolve, reject) => {
    at("shutter").onclick = () => resolve(still());
    at("camera-close").onclick = () => resolve(null);
    at("camera-flip").onclick = async () => {
      facing = facing === "user" ? "environment" : "user";
      [at("camera-flip").disabled, at("shutter").disabled] = [true, true];
      await open().catch(reject);
      [at("camera-flip").disabled, at("shutter").disabled] = [false, false];
    };
    dialog.oncancel = () => resolve(null);
  });
}

async function open() {
  stop();
  const mine = ++wanted;
  try {
    const size = { width: { ideal: 1920 }, height: { ideal: 1440 } };
    const how = { video: { facingMode: facing, ...size } };
    const opened = await navigator.mediaDevices.getUserMedia(how);
    if (mine !== wanted) return end(opened); // it was closed meanwhile
    stream = opened;
    video.srcObject = stream;
    await video.play();
  } catch (error) {
    stop();
    throw new Error(
      error.name === "NotAllowedError"
        ? "The camera was refused; allow it in the browser’s settings, or choose a photo."
        : "No camera could be opened; choose a photo instead.",
    );
  }
}

function still() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
}

const end = (one) => one?.getTracks().forEach((track) => track.stop());

function stop() {
  end(stream);
  stream = null;
  video.srcObject = null;
}

function close() {
  wanted++;
  stop();
  if (dialog.open) dialog.close();
}

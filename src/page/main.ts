import { randomId } from "llamapod/client";
import { ApiKeyForm } from "./api-key.ts";
import { browserSurroundings } from "./browser.ts";
import { ChatView } from "./chat-view.ts";
import { Chat, type ChatEvents } from "./chat.ts";
import { Composer } from "./composer.ts";
import { ConnectionStatus } from "./connection-status.ts";
import { byId } from "./dom.ts";
import { ModelPicker } from "./model-picker.ts";
import { savedChat } from "./saved.ts";
import { SettingsPanel } from "./settings-panel.ts";

const events: ChatEvents = {
  turnsChanged() {
    view.turnsChanged();
    composer.setRunning(chat.running !== undefined);
  },
  answerChanged(answer) {
    view.answerChanged(answer);
    composer.setRunning(answer.outcome === "running");
  },
  connectionChanged(state) {
    status.show(state);
    apiKey.show(state);
  },
  modelsChanged() {
    picker.show();
    view.refresh();
  },
  refused: (message) => view.announce(message),
};

const apiKey = new ApiKeyForm(sessionStorage, () => chat.connect());
const panel = new SettingsPanel(localStorage);
const chat = new Chat(
  {
    surroundings: browserSurroundings(() => apiKey.key),
    saved: savedChat(sessionStorage),
    newId: randomId,
    settings: () => panel.settings,
  },
  events,
);
const view = new ChatView(chat);
const picker = new ModelPicker(chat);
const status = new ConnectionStatus(() => {
  chat.connect();
  chat.probe();
});
const composer = new Composer({
  send(text) {
    chat.send(text);
    view.announce("The question was sent.");
  },
  stop: () => chat.stop(),
});

byId("new-chat", HTMLButtonElement).addEventListener("click", () => {
  chat.clear();
  composer.focus();
});

addEventListener("online", () => chat.probe());
addEventListener("offline", () => chat.probe());
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) chat.probe();
});
addEventListener("pagehide", () => chat.saveNow());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") chat.probe();
});

chat.start();
composer.focus();

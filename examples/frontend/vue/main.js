// Vue passes on what it doesn't know to be its own. In a template, say so first:
// app.config.compilerOptions.isCustomElement = (tag) => tag === "changeover-update".
import { createApp, h, ref } from "vue";
import { addLanguages } from "changeover-client";
import languages from "changeover-client/languages.js";

addLanguages(languages);

const UpdateButton = {
  setup() {
    const phase = ref("idle");
    return () => [
      h("changeover-update", {
        endpoint: "/update",
        app: "Acme Wiki",
        onChangeoverChange: (event) => (phase.value = event.detail.phase),
      }),
      h("p", { id: "phase" }, phase.value),
    ];
  },
};

createApp(() => [h("h1", "Acme Wiki"), h(UpdateButton)]).mount("#root");

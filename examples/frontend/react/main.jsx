// React 19 hands properties and events on to custom elements, so nothing is wrapped here.
import { StrictMode, useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";
import { addLanguages } from "changeover-client";
import languages from "changeover-client/languages.js";

addLanguages(languages);

function UpdateButton() {
  const element = useRef(null);
  const [phase, setPhase] = useState("idle");
  useEffect(() => {
    const target = element.current;
    const changed = (event) => setPhase(event.detail.phase);
    target.addEventListener("changeover-change", changed);
    return () => target.removeEventListener("changeover-change", changed);
  }, []);
  return (
    <>
      <changeover-update ref={element} endpoint="/update" app="Acme Wiki" />
      <p id="phase">{phase}</p>
    </>
  );
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <h1>Acme Wiki</h1>
    <UpdateButton />
  </StrictMode>,
);

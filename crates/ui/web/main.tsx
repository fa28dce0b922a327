/** The web UI: a playground for the models, and a monitor for the operators. */

import "./css/app.css";
import { render } from "preact";
import { Shell } from "./shell";

const place = document.getElementById("app");
if (place) render(<Shell />, place);

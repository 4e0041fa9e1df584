// Plain HTML: copy changeover.js (and languages.js, for more than English) beside this file.
import { addLanguages } from "./changeover.js";
import languages from "./languages.js";

addLanguages(languages);

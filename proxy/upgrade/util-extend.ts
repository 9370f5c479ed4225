/**
 * http-proxy asks for the deprecated util._extend as it is loaded, and Node would print a warning.
 *
 * A module of its own, imported before http-proxy: imports come before any other line of a module, and a module that awaits
 * its import cannot be part of the single executable.
 */
import util from "node:util";

Object.assign(util, { _extend: Object.assign });

// panva's oidc-provider for the tests, switched on as a careful company would: PKCE is a must, RP-initiated and back-channel
// logout, access tokens of programs as JWTs for one API, people and groups of its own, a login form of its own.
//
//     node server.mjs ISSUER PORT DOOR
//
// Who may come in stands in one JSON document, which is put through a second port of loopback, the door: clients, people,
// keys, and how claims travel. A new document takes effect with the next request, and whoever is signed in stays so where only
// people have changed. Whoever can reach the door is master of everything here, and passwords stand in the document: nothing
// to run for real people.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// The package lies where `npm ci` put it, which is the folder that this program is started in.
const found = createRequire(join(process.cwd(), "package.json")).resolve("oidc-provider");
const { Provider, errors } = await import(pathToFileURL(found));

const [ISSUER, PORT, DOOR] = process.argv.slice(2);

const cookieKey = randomBytes(32).toString("hex");
const keys = new Map();
let settings = null;
let provider = null;

// How a key of each algorithm is made.
const KINDS = {
  RS256: ["rsa", { modulusLength: 2048 }],
  PS256: ["rsa", { modulusLength: 2048 }],
  ES256: ["ec", { namedCurve: "P-256" }],
  EdDSA: ["ed25519", {}],
  Ed25519: ["ed25519", {}],
};

// The private key of that name, made when it is asked for the first time.
function key({ kid, alg }) {
  if (!keys.has(kid)) {
    const { privateKey } = generateKeyPairSync(...KINDS[alg]);
    keys.set(kid, { ...privateKey.export({ format: "jwk" }), kid, alg, use: "sig" });
  }
  return keys.get(kid);
}

function configuration() {
  return {
    clients: settings.clients,
    jwks: { keys: settings.keys.map(key) },
    cookies: { keys: [cookieKey] },
    pkce: { required: (ctx, client) => !settings.withoutPkce.includes(client.clientId) },
    responseTypes: ["code"],
    scopes: ["openid", "offline_access"],
    // What each scope gives. By default (conform) these claims are at the UserInfo endpoint, and not in the ID token.
    claims: {
      openid: ["sub"],
      email: ["email", "email_verified"],
      profile: ["name", "preferred_username"],
      groups: ["groups"],
    },
    conformIdTokenClaims: settings.conformIdTokenClaims,
    clientAuthMethods: settings.clientAuthMethods,
    enabledJWA: { idTokenSigningAlgValues: Object.keys(KINDS) },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      backchannelLogout: { enabled: true },
      jwtUserinfo: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // Programs get tokens for MLflow's API unless they ask for another one; a person's is for UserInfo.
        defaultResource: (ctx) =>
          ctx.oidc.params.grant_type === "client_credentials" ? settings.api : undefined,
        getResourceServerInfo: (ctx, resource) => {
          if (resource !== settings.api) throw new errors.InvalidTarget();
          return { scope: "", audience: settings.api, accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } } };
        },
      },
    },
    // An access token for the API says who it is: of a person what the ID token would say, and of a program, which has no
    // e-mail address and no groups, what somebody has written down for it.
    extraTokenClaims: (ctx, token) =>
      token.kind === "ClientCredentials" ? settings.services[token.clientId] : settings.people[token.accountId].claims,
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (ctx, id) =>
      settings.people[id] && { accountId: id, claims: () => ({ sub: id, ...settings.people[id].claims }) },
    loadExistingGrant,
    ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, Interaction: 600, Session: 3600, Grant: 3600 },
    renderError: (ctx, out) => {
      ctx.type = "html";
      ctx.body = page("This did not work", `<p id="error">${safe(out.error)}: ${safe(out.error_description)}</p>`);
    },
    // By default nothing is sent to an address of a private network (the guard is the dispatcher), and an MLflow inside the
    // company never learns of a logout.
    fetch: (url, { dispatcher, ...options }) =>
      fetch(url, settings.reachInside.includes(url) ? options : { dispatcher, ...options }),
  };
}

// The company's own applications are not asked about; others have their grant from the consent page.
async function loadExistingGrant(ctx) {
  const { client, session, result, params } = ctx.oidc;
  const known = result?.consent?.grantId ?? session.grantIdFor(client.clientId);
  if (known) return ctx.oidc.provider.Grant.find(known);
  if (settings.askConsent) return undefined;
  const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope(params.scope);
  await grant.save();
  return grant;
}

const safe = (text) =>
  String(text ?? "").replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);

const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>
<style>body{font:16px system-ui;max-width:26rem;margin:12vh auto}label,input{display:block;width:100%}
input{margin:0 0 1rem;padding:.4rem}</style><h1>${title}</h1>${body}</html>`;

const form = (uid, fields, button) => `<form method="post" action="/interaction/${safe(uid)}">${fields}
<button name="action" value="${button.toLowerCase()}">${button}</button>
<button name="action" value="cancel" formnovalidate>Cancel</button></form>`;

const loginForm = (uid, told = "") =>
  page("Example company", `${told && `<p id="error">${told}</p>`}${form(
    uid,
    `<label for="login">Login</label><input id="login" name="login" autocomplete="username" required autofocus>
<label for="password">Password</label><input id="password" name="password" type="password" required>`,
    "Continue",
  )}`);

const consentForm = (uid, details) =>
  page("Example company", `<p>${safe(details.params.client_id)} asks for: ${safe(details.params.scope)}</p>
${form(uid, "", "Allow")}`);

async function body(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}

// Our own pages: who is it, and do they agree.
async function interaction(request, response) {
  const details = await provider.interactionDetails(request, response);
  const { uid, prompt } = details;
  const html = (text) => response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(text);
  if (request.method === "GET") {
    html(prompt.name === "consent" ? consentForm(uid, details) : loginForm(uid));
    return;
  }
  const sent = new URLSearchParams(await body(request));
  const finish = (result) => provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
  if (sent.get("action") === "cancel") {
    await finish({ error: "access_denied", error_description: "the person pressed Cancel" });
  } else if (prompt.name === "consent") {
    const grant = new provider.Grant({ accountId: details.session.accountId, clientId: details.params.client_id });
    grant.addOIDCScope(details.params.scope);
    await finish({ consent: { grantId: await grant.save() } });
  } else if (settings.people[sent.get("login")]?.password === sent.get("password")) {
    await finish({ login: { accountId: sent.get("login") } });
  } else {
    html(loginForm(uid, "Login or password is wrong."));
  }
}

createServer(async (request, response) => {
  try {
    if (provider === null) response.writeHead(503).end("no document yet");
    else if (request.url.startsWith("/interaction/")) await interaction(request, response);
    else await provider.callback()(request, response);
  } catch (fault) {
    console.error(fault);
    if (!response.headersSent) response.writeHead(400).end(String(fault.message));
  }
}).listen(Number(PORT), "127.0.0.1");

createServer(async (request, response) => {
  try {
    const before = settings && JSON.stringify({ ...settings, people: null });
    settings = JSON.parse(await body(request));
    // People are looked up when they are asked for; a new provider would have forgotten who is signed in.
    if (before === JSON.stringify({ ...settings, people: null })) {
      response.writeHead(204).end();
      return;
    }
    provider = new Provider(ISSUER, configuration());
    for (const event of ["server_error", "grant.error", "authorization.error", "backchannel.error"]) {
      provider.on(event, (...told) => {
        const fault = told.find((one) => one instanceof Error);
        console.error(event, fault.message, fault.error_description ?? "", fault.error_detail ?? "");
      });
    }
    response.writeHead(204).end();
  } catch (fault) {
    response.writeHead(400).end(String(fault.stack));
  }
}).listen(Number(DOOR), "127.0.0.1");

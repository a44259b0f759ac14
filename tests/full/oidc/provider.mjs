// An OpenID Connect provider on loopback, made of the certified package oidc-provider.
//
//   node provider.mjs PORT KEYS
//
// KEYS is a file with a JWKS of private keys; the first key of each kind signs. The provider ends
// with its stdin, so it does not outlive the test that started it.
import { readFileSync } from "node:fs";
import { Provider } from "oidc-provider";

const [port, keys] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const API_SCOPES = "deposits";

// The subjects are no addresses, so a gateway that takes the address for the caller fails.
const users = {
  "u-1": { email: "ann@example.com", email_verified: true },
  "u-2": { email: "bob@example.com", email_verified: true },
  "u-3": { email: "carol@example.com", email_verified: false },
  "u-9": { email: "boss@example.com", email_verified: true, roles: ["operator"] },
};
const PASSWORD = "in-the-tests-only";

// The algorithm and the lifetime of the access tokens of each client.
const issued = {
  web: { alg: "RS256", seconds: 600 },
  "web-ec": { alg: "ES256", seconds: 600 },
  "web-short": { alg: "RS256", seconds: 1 },
  payments: { alg: "ES256", seconds: 600 },
};

const web = (clientId) => ({
  client_id: clientId,
  redirect_uris: ["https://web.example/callback"],
  token_endpoint_auth_method: "none",
  scope: "openid email",
});

const provider = new Provider(issuer, {
  jwks: JSON.parse(readFileSync(keys, "utf-8")),
  cookies: { keys: ["in-the-tests-only"] },
  clients: [
    web("web"),
    web("web-ec"),
    web("web-short"),
    {
      client_id: "payments",
      client_secret: PASSWORD,
      grant_types: ["client_credentials"],
      response_types: [],
      redirect_uris: [],
      scope: API_SCOPES,
    },
  ],
  scopes: ["openid", API_SCOPES],
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  conformIdTokenClaims: false, // the ID token has the address too, as with many issuers
  findAccount: (_, id) => users[id] && { accountId: id, claims: () => ({ sub: id, ...users[id] }) },
  extraTokenClaims: (_, token) => users[token.accountId],
  interactions: { url: (_, interaction) => `/login/${interaction.uid}` },
  // The clients are the shop's own, so a user who has logged in is not asked for consent.
  async loadExistingGrant(ctx) {
    const { client, session, params } = ctx.oidc;
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope(params.scope);
    if (params.resource) grant.addResourceScope(params.resource, API_SCOPES);
    await grant.save();
    return grant;
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      // Any API may be named: the tests need tokens of other audiences too.
      getResourceServerInfo: (_, resource, client) => ({
        audience: resource,
        scope: API_SCOPES,
        accessTokenFormat: "jwt",
        accessTokenTTL: issued[client.clientId].seconds,
        jwt: { sign: { alg: issued[client.clientId].alg } },
      }),
    },
  },
});

async function form(ctx) {
  const pairs = [];
  for await (const chunk of ctx.req) pairs.push(chunk);
  return new URLSearchParams(Buffer.concat(pairs).toString());
}

// The login page, which a provider leaves to its operator.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/login/")) return next();
  await provider.interactionDetails(ctx.req, ctx.res);
  if (ctx.method === "POST") {
    const fields = await form(ctx);
    const found = Object.entries(users).find(([, user]) => user.email === fields.get("email"));
    if (found && fields.get("password") === PASSWORD) {
      const result = { login: { accountId: found[0] } };
      ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result));
      return undefined;
    }
    ctx.status = 401;
  }
  ctx.type = "html";
  ctx.body = `<form method="post" action="${ctx.path}"><input name="email"><input name="password"></form>`;
  return undefined;
});

provider.listen(Number(port), "127.0.0.1");
process.stdin.on("end", () => process.exit(0)).resume();

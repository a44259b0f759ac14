import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Posts bodies, each with its token, with Java's default client, which offers HTTP/2; prints one
line per response. */ public class Client { public static void main(String[] words) throws Exception
{ HttpClient client = HttpClient.newHttpClient(); String[] bodies = words[1].split("\n"), tokens =
words[2].split("\n"); for (int i = 0; i < bodies.length; i++) { HttpRequest request =
HttpRequest.newBuilder(URI.create(words[0])) .header("content-type",
"application/json").header("authorization", tokens[i])
.POST(HttpRequest.BodyPublishers.ofString(bodies[i])).build(); HttpResponse<String> answer =
client.send(request, HttpResponse.BodyHandlers.ofString()); System.out.println(answer.statusCode() +
" " + answer.version() + " " + answer.body()); } } }

/**
 * The containers that are added to a pod, and the volume they need.
 *
 * The kubelet starts what comes behind a native sidecar when its startup probe succeeds, so that probe is what holds the app back until
 * there is a way out. A classic sidecar is the first of the containers, and its postStart hook holds the others back: the kubelet waits
 * for the hook before it starts the next one.
 */
import { forKubelet } from "./configuration.ts";
import { type Fields, withFields } from "./fields.ts";
import type { PodPlan } from "./plan.ts";

export const SIDECAR = "heddle";
export const REDIRECT = "heddle-redirect";
export const VOLUME = "heddle-config";

const CONFIG_FOLDER = "/etc/heddle";
/** How long the app is held back at most, in seconds. */
const START_SECONDS = 120;
/** What the entry point of the image is, for hooks, which do not get it. */
export const ENTRY_POINT = ["/usr/bin/heddle"];

/** What the *restricted* Pod Security Standard asks for, and a file system that cannot be written. */
function restricted(uid: number): Fields {
  return {
    runAsNonRoot: true,
    runAsUser: uid,
    runAsGroup: uid,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
    seccompProfile: { type: "RuntimeDefault" },
  };
}

/** @param configuration YAML for HEDDLE_CONFIG */
export function sidecarContainer(plan: PodPlan, configuration: string): Fields {
  const { ports, configMap, native } = plan;
  const inbound = plan.service !== undefined || configMap !== undefined;
  const admin = `127.0.0.1:${ports.admin}`;
  const probe = (path: string) => ({ httpGet: { path, port: ports.health } });
  return withFields(
    {
      name: SIDECAR,
      image: plan.image,
      imagePullPolicy: plan.imagePullPolicy,
      args: configMap === undefined ? ["run"] : ["run", "--config", `${CONFIG_FOLDER}/heddle.yaml`],
      restartPolicy: native ? "Always" : undefined,
      env: [
        { name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
        { name: "HOST_IP", valueFrom: { fieldRef: { fieldPath: "status.hostIP" } } },
        { name: "HEDDLE_CONFIG", value: forKubelet(configuration) },
      ],
      ports: [
        ...(inbound ? [{ name: "heddle-in", containerPort: ports.inbound }] : []),
        { name: "heddle-health", containerPort: ports.health },
      ],
      // Only a native sidecar is waited for by its probe.
      startupProbe: native
        ? { ...probe("/ready"), periodSeconds: 1, failureThreshold: START_SECONDS }
        : undefined,
      readinessProbe: { ...probe("/ready"), periodSeconds: 5 },
      livenessProbe: { ...probe("/live"), periodSeconds: 10, failureThreshold: 6 },
      lifecycle: {
        ...(native
          ? {}
          : {
              postStart: {
                exec: {
                  command: [...ENTRY_POINT, "ready", "--admin", admin, "--within", `${START_SECONDS}s`],
                },
              },
            }),
        preStop: { exec: { command: [...ENTRY_POINT, "leave", "--admin", admin, ...classicWait(plan)] } },
      },
      resources: plan.resources,
      securityContext: restricted(plan.uid),
    },
    {
      volumeMounts:
        configMap === undefined ? undefined : [{ name: VOLUME, mountPath: CONFIG_FOLDER, readOnly: true }],
    },
  );
}

/**
 * A native sidecar is told to end when the app has ended. A classic one is told at the same time as the app, so it waits in its hook until
 * the app listens no longer: the app needs its way out while it finishes.
 */
function classicWait({ native, service, terminationSeconds }: PodPlan): string[] {
  if (native) return [];
  const most = `${Math.max(1, Math.floor(terminationSeconds / 2))}s`;
  return service === undefined
    ? ["--wait", most]
    : ["--wait", most, "--until-closed", `127.0.0.1:${service.port}`];
}

/** Sets up the redirection of the pod's traffic and ends. */
export function redirectContainer(plan: PodPlan): Fields {
  const { ports, exclude, uid } = plan;
  const list = (option: string, values: readonly (string | number)[]) =>
    values.length === 0 ? [] : [option, values.join(",")];
  return {
    name: REDIRECT,
    image: plan.redirectImage,
    ...(plan.imagePullPolicy === undefined ? {} : { imagePullPolicy: plan.imagePullPolicy }),
    args: [
      "redirect",
      "up",
      ...["--outbound-port", String(ports.outbound)],
      ...["--inbound-port", String(ports.inbound)],
      ...["--uid", String(uid)],
      ...list("--exclude-inbound-ports", [ports.health, ...exclude.inboundPorts]),
      ...list("--exclude-outbound-ports", exclude.outboundPorts),
      ...list("--exclude-outbound-cidrs", exclude.outboundCidrs),
      ...list("--exclude-uids", exclude.uids),
    ],
    resources: { requests: { cpu: "10m", memory: "64Mi" }, limits: { memory: "128Mi" } },
    // The rules belong to the network namespace of the pod, and only root with this capability may write them.
    securityContext: {
      runAsUser: 0,
      runAsGroup: 0,
      runAsNonRoot: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { add: ["NET_ADMIN", "NET_RAW"], drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
  };
}

/** The ConfigMap as a file. */
export function configVolume({ configMap }: PodPlan): Fields | undefined {
  if (configMap === undefined) return undefined;
  return {
    name: VOLUME,
    configMap: { name: configMap.configMap, items: [{ key: configMap.key, path: "heddle.yaml" }] },
  };
}

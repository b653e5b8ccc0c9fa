"""What a Ray cluster serves: `serve run services.serve.cluster:application`, and KubeRay by deploy/kuberay.

Settings come from the environment of each node. Options that depend on the size of the cluster, the number of replicas
above all, stand in the deployment's configuration.
"""

from services.serve.deployment import Gateway
from services.serve.encoder import Encoder

application = Gateway.bind(Encoder.bind())
